"""The reviewers read a run's own log as they read sessions that are still in memory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simenv.errors import RunError
from simenv.fidelity.bench import METRICS
from simenv.fidelity.results import Table
from simenv.fidelity.runlog import review_log, sessions_of
from simenv.metrics import session_table
from simenv.pages import EMPTY
from simenv.rundir import RunDir
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Row = dict[str, Any]


@pytest.fixture(scope="session")
def talked(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of agents, to read and not to change."""
    told = {
        "name": "talked",
        "dataset": {"name": "films", "users": 40, "items": 80},
        "population": "llm",
        "policies": ["random", "pop"],
        "page_size": 3,
        "max_pages": 4,
        "users": 20,
    }
    return run(Scenario.model_validate(told), tmp_path_factory.mktemp("talked") / "run")


def altered(source: RunDir, folder: Path, kind: str, change: Callable[[list[Row]], None]) -> RunDir:
    """Return a copy of a run whose events, or pages, were changed in place."""
    shutil.copytree(source.folder, folder)
    (path, *_) = sorted((folder / kind).glob("part-pop-0-*.parquet"))
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return RunDir.open(folder)


def found_by(run_dir: RunDir, rule: str) -> tuple[object, ...]:
    (row,) = [row for row in review_log(run_dir).tables[0].rows if rule in str(row[0])]
    return row


def test_the_log_gives_the_sessions_metrics_again(finished: RunDir):
    table = session_table(finished).to_pylist()
    for label in ("random", "pop", "item-knn"):
        played = sessions_of(finished, label, finished.manifest["page_size"])
        mine = played.metrics.reshape(2, -1, len(METRICS)).mean(axis=0)
        theirs = [row for row in table if row["policy"] == label]
        theirs.sort(key=lambda row: row["user_id"])

        for column, metric in enumerate(METRICS):
            assert np.allclose(mine[:, column], [row[metric] for row in theirs], equal_nan=True), metric


def test_items_and_users_are_those_of_the_log(finished: RunDir):
    ids, users = (sorted(set(column.to_pylist())) for column in (finished.items["item_id"], finished.pages["user_id"]))
    logged = {
        (row["seed"], row["user_id"], row["page"], row["rank"], row["item_id"])
        for row in finished.events.to_pylist()
        if row["policy"] == "pop"
    }

    read = {
        (int(seat) // len(users), users[user], int(page), rank, ids[item])
        for turn in sessions_of(finished, "pop", finished.manifest["page_size"]).turns
        for seat, user, page, items in zip(
            turn.page.seats, turn.page.users, turn.page.number, turn.page.items, strict=True
        )
        for rank, item in enumerate(items)
        if item != EMPTY
    }

    assert read == logged


def test_a_log_of_the_worlds_own_users_is_clean(finished: RunDir):
    found = review_log(finished)

    assert found.word == "pass"
    assert [row[0] for row in found.tables[1].rows] == ["random", "pop", "item-knn"]


def test_more_rules_apply_to_who_has_words_and_what_they_say_does_not_contradict_itself(
    talked: RunDir, finished: RunDir
):
    plain, agents = ({str(row[0]): row for row in review_log(one).tables[0].rows} for one in (finished, talked))

    for rule in (
        "memory contradicts what happened",
        "verdict after leaving contradicts the pages",
        "words name an item that was not shown",
    ):
        assert plain[rule][2:4] == (0, None)
        assert plain[rule][5]
        assert agents[rule][2:4] == (agents[rule][2], 0)
        assert agents[rule][2]


def test_an_item_that_is_liked_and_disliked_is_found_in_the_log(finished: RunDir, tmp_path: Path):
    def change(rows: list[Row]) -> None:
        first, second = [next(row for row in rows if row["page"] == page) for page in (0, 1)]
        user = second["user_id"]
        first = next(row for row in rows if row["user_id"] == user and row["seed"] == second["seed"])
        first.update(grade="liked", rating=5.0)
        second.update(item_id=first["item_id"], grade="disliked", rating=1.0)

    assert found_by(finished, "same item")[2] == 0
    assert found_by(altered(finished, tmp_path / "run", "events", change), "same item")[2:5] == (1, 1, "pop")


def test_words_and_verdicts_of_the_log_are_read(talked: RunDir, tmp_path: Path):
    shown = set(zip(*(talked.events[name].to_pylist() for name in ("user_id", "item_id")), strict=True))
    items = dict(zip(*(talked.items[name].to_pylist() for name in ("item_id", "title")), strict=True))

    def change(rows: list[Row]) -> None:
        one = next(row for row in rows if row["exit"])
        texts = json.dumps(
            [line for line in talked.read_lines("personas.jsonl") if line["user"] == str(one["user_id"])]
        )
        strange = next(
            title
            for item, title in items.items()
            if (one["user_id"], item) not in shown and len(title.split()) > 1 and title not in texts
        )
        one.update(words=f"All I wanted was {strange}", satisfaction=9.5, verdict=1.0)
        for row in rows:
            if row["user_id"] == one["user_id"]:
                row["satisfaction"] = 9.5

    wrong = altered(talked, tmp_path / "run", "pages", change)
    assert found_by(talked, "not shown")[3] == 0
    assert found_by(wrong, "not shown")[3:5] == (1, "pop")
    assert found_by(wrong, "verdict after leaving")[3:5] == (1, "pop")


def test_likes_against_a_stated_taste_are_found_in_the_log(talked: RunDir, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(talked.folder, folder)
    kinds = dict(zip(*(talked.items[name].to_pylist() for name in ("item_id", "categories")), strict=True))
    likes: dict[object, list[object]] = {}
    for row in talked.events.to_pylist():
        if row["policy"] == "pop" and row["grade"] == "liked":
            likes.setdefault(row["user_id"], []).append(row["item_id"])
    user, liked = max(likes.items(), key=lambda pair: len(pair[1]))
    assert len(liked) > 1
    lines = talked.read_lines("personas.jsonl")
    for line in lines:
        names = sorted({name for item in liked for name in kinds[item]}) if line["user"] == str(user) else []
        line.update(tastes=[], dislikes=[f"{name}, such as 'some film'" for name in names])

    RunDir.open(folder).write_lines("personas.jsonl", lines)
    assert found_by(RunDir.open(folder), "stated taste")[3:5] == (1, "pop")


def test_an_item_that_the_catalogue_lacks_is_told(finished: RunDir, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    pq.write_table(finished.items.slice(0, 10), folder / "items.parquet")

    with pytest.raises(RunError, match=r"names .*, which items\.parquet does not hold; the file is damaged"):
        review_log(RunDir.open(folder))


def test_the_variance_between_a_runs_own_policies_stands_beside_the_review(finished: RunDir):
    found = review_log(finished)
    (table,) = [table for table in found.tables if "policies of this run" in table.title]
    said: dict[tuple[str, int, object], list[float]] = {}
    for row in finished.pages.to_pylist():
        said.setdefault((row["policy"], row["seed"], row["user_id"]), []).append(row["satisfaction"])

    assert table.heads == ("of", "policy", "persona and their chance", "the rest")
    # Two-way random effects by hand: a row for each user and seed, a column for each policy.
    labels, visits = ("random", "pop", "item-knn"), sorted({(seed, user) for _, seed, user in said})
    cells = np.array([[np.mean(said[label, *visit]) for label in labels] for visit in visits])
    rows, columns = cells.shape
    middle = cells.mean()
    rest = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0) + middle
    error = (rest**2).sum() / ((rows - 1) * (columns - 1))
    policy = max(cells.mean(axis=0).var(ddof=1) - error / rows, 0)
    persona = max(cells.mean(axis=1).var(ddof=1) - error / columns, 0)
    by_hand = np.array([policy, persona, error]) / (policy + persona + error)
    assert table.rows[0] == ("satisfaction", *(pytest.approx(one) for one in by_hand.tolist()))
    shares = {figure.name: figure.value for figure in found.figures}
    told = shares["satisfaction: share of policy in all, by the policies of this run"]
    assert told.mean == pytest.approx(by_hand[0])
    assert told.low <= told.mean <= told.high


def test_a_run_of_one_policy_has_no_variance_between_policies(tmp_path: Path, tiny: Callable[..., Scenario]):
    found = review_log(run(tiny(policies=["pop"]), tmp_path / "run"))

    (table,) = [table for table in found.tables if "policies of this run" in table.title]
    assert "unmeasured: one policy" in str(table.rows[0][1])


def test_who_knows_the_truth_has_no_part_in_the_variance_between_policies(
    tmp_path: Path, tiny: Callable[..., Scenario]
):
    def table(name: str, policies: list[str]) -> Table:
        found = review_log(run(tiny(policies=policies), tmp_path / name))
        return next(table for table in found.tables if "policies of this run" in table.title)

    alone = table("alone", ["random", "pop"])
    assert table("bounded", ["random", "pop", "oracle", "anti-oracle"]) == alone
    assert "unmeasured" in str(table("single", ["pop", "oracle"]).rows[0][1])
