"""A run's preferences go to a file that says where each row comes from, and a card that says what was left out."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from simenv.errors import DataError, RunError, SimenvError
from simenv.pages import Grade
from simenv.preferences.leaks import held_out_keys
from simenv.preferences.records import Records, pair_keys
from simenv.preferences.simulated import pages_of
from simenv.rundir import RunDir
from simenv.scenarios import pairs as module
from simenv.scenarios.cli import app
from simenv.scenarios.pairs import Wish, pairs, split_of
from simenv.scenarios.runner import run
from simenv.splits import Split

DROP = Wish(leaks="drop")


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_row_is_true_to_the_log(finished: RunDir, tmp_path: Path):
    written = pairs(finished.folder, tmp_path / "pairs.jsonl", DROP)
    rows = rows_of(written.path)
    assert written.card["rows"] == len(rows) > 50
    log = {
        (one["policy"], one["seed"], one["user_id"], one["page"], one["item_id"]): (one["rank"], one["grade"])
        for one in finished.events.to_pylist()
    }
    titles = dict(zip(finished.items["item_id"].to_pylist(), finished.items["title"].to_pylist(), strict=True))
    for row in rows:
        for side in ("chosen", "rejected"):
            item = row[f"{side}_item"]
            told = log[row["policy"], row["seed"], row["user"], row["page"], item]
            assert told == (row[f"{side}_position"], row[f"{side}_grade"])
            assert row[side] == [{"role": "assistant", "content": titles[item]}]
        assert row["chosen_grade"] == "liked"
        assert row["rejected_grade"] in ("passed", "disliked")
        assert 0 < row["confidence"] <= 1
        assert row["run"] == "run"
        assert row["source"] == "simulated"
        assert row["prompt"][0]["role"] == "user"
    said = [(row["user"], row["chosen_item"], row["rejected_item"]) for row in rows]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize("form", ["trl", "plain", "kto", "lists"])
def test_parquet_and_json_lines_say_the_same(finished: RunDir, tmp_path: Path, form: str):
    wish = replace(DROP, form=form)
    lines = rows_of(pairs(finished.folder, tmp_path / "a.jsonl", wish).path)
    table = rows_of(pairs(finished.folder, tmp_path / "b.parquet", wish).path)
    assert lines == table


@pytest.mark.parametrize("form", ["trl", "kto"])
def test_the_first_rows_show_what_each_column_holds(finished: RunDir, tmp_path: Path, form: str):
    rows = rows_of(pairs(finished.folder, tmp_path / "rows.jsonl", replace(DROP, form=form, against="passed")).path)
    both = rows_of(pairs(finished.folder, tmp_path / "both.jsonl", replace(DROP, form=form)).path)
    for some in (rows, both):
        for name in some[0]:
            values = [row[name] for row in some]
            assert any(value is not None for value in values[:3]) or not any(value is not None for value in values)


def test_a_row_stands_in_no_held_out_interaction(finished: RunDir, split: Split, tmp_path: Path):
    held_out = held_out_keys(split)
    index = {user: number for number, user in enumerate(split.train.users.ids.tolist())}
    for row in rows_of(pairs(finished.folder, tmp_path / "labels.jsonl", replace(DROP, form="kto")).path):
        key = pair_keys(np.array([index[row["user"]]]), split.train.catalog.index([row["item"]]))
        assert not np.isin(key, held_out).any()


def test_the_card_counts_what_is_there_and_what_is_not(finished: RunDir, tmp_path: Path):
    written = pairs(finished.folder, tmp_path / "pairs.jsonl", replace(DROP, most_per_user=3, balance=("popularity",)))
    rows = rows_of(written.path)
    card = json.loads((tmp_path / "pairs.jsonl.card.json").read_text(encoding="utf-8"))
    assert card == json.loads(json.dumps(written.card))
    assert card["users"] == len({row["user"] for row in rows})
    assert card["most_of_a_user"] <= 3
    assert sum(card["by_policy"].values()) == sum(card["by_grades"].values()) == sum(card["gaps"].values()) == len(rows)
    assert card["fidelity"]
    assert card["population_seeds"] == finished.manifest["seeds"]
    assert set(map(int, card["by_seed"])) == {row["seed"] for row in rows} <= set(card["population_seeds"])
    assert all(card["left_out"][reason] > 0 for reason in ("held_out_candidates", "duplicates", "for_balance"))
    counts = dict(zip(finished.items["item_id"].to_pylist(), finished.items["train_count"].to_pylist(), strict=True))
    told = written.card_path.read_text(encoding="utf-8")
    for side in ("chosen", "rejected"):
        mean = np.mean([counts[row[f"{side}_item"]] for row in rows])
        assert card["popularity"][side]["mean"] == pytest.approx(mean, abs=1e-3)
        assert f"| {side} | {card['popularity'][side]['mean']:.4g} |" in told


def test_balance_takes_chosen_and_rejected_from_the_same_steps_of_popularity(finished: RunDir, tmp_path: Path):
    counts = dict(zip(finished.items["item_id"].to_pylist(), finished.items["train_count"].to_pylist(), strict=True))

    def steps(name: str, **changes: Any) -> list[list[int]]:
        rows = rows_of(pairs(finished.folder, tmp_path / name, replace(DROP, **changes)).path)
        assert rows
        return [
            sorted(int(np.log2(counts[row[side]] + 1)) for row in rows) for side in ("chosen_item", "rejected_item")
        ]

    chosen, rejected = steps("plain.jsonl")
    assert chosen != rejected
    chosen, rejected = steps("balanced.jsonl", balance=("popularity",))
    assert chosen == rejected


def test_the_same_command_writes_the_same_file(finished: RunDir, tmp_path: Path):
    wish = replace(DROP, most_per_user=5, balance=("popularity", "length"), seed=3)
    one = pairs(finished.folder, tmp_path / "one.jsonl", wish).path.read_bytes()
    assert pairs(finished.folder, tmp_path / "other.jsonl", wish).path.read_bytes() == one
    assert pairs(finished.folder, tmp_path / "third.jsonl", replace(wish, seed=4)).path.read_bytes() != one


def test_records_go_to_a_file_and_come_back(finished: RunDir, split: Split, tmp_path: Path):
    written = pairs(finished.folder, tmp_path / "records.parquet", replace(DROP, form="records"))
    found = Records.read(written.path, split.train)
    assert len(found) == written.card["rows"] == len(finished.pages)


def test_a_prompt_of_ones_own_is_used(finished: RunDir, tmp_path: Path):
    prompt = tmp_path / "mine.txt"
    prompt.write_text("Past:\n{history}\nNext?", encoding="utf-8")
    path = pairs(finished.folder, tmp_path / "pairs.jsonl", replace(DROP, prompt=prompt)).path
    told = rows_of(path)[0]["prompt"][0]["content"]
    assert told.startswith("Past:\nA user's past, oldest first:\n- ")
    assert told.endswith("\nNext?")
    prompt.write_text("What next?", encoding="utf-8")
    with pytest.raises(DataError, match=r"mine.txt: the prompt has no \{history\}"):
        pairs(finished.folder, tmp_path / "more.jsonl", replace(DROP, prompt=prompt))


def test_what_a_replayed_user_was_never_asked_is_no_rejection(tiny: Any, tmp_path: Path):
    result = run(tiny(population="replay", fidelity=False), tmp_path / "replayed")
    with pytest.raises(SimenvError, match="nothing to write"):
        pairs(result.folder, tmp_path / "pairs.jsonl", DROP)


def test_what_a_replayed_user_did_is_exported_where_its_held_out_rows_may_be_kept(tiny: Any, tmp_path: Path):
    result = run(tiny(population="replay", policies=["oracle"], page_size=20, fidelity=False), tmp_path / "replayed")
    written = pairs(result.folder, tmp_path / "labels.jsonl", Wish(form="kto", leaks="keep"))
    known = result.events.filter(result.events["known"])
    told = Counter(known["grade"].cast(pa.string()).to_pylist())
    assert len(rows_of(written.path)) == told["liked"] + told["passed"] + told["disliked"] > 0
    assert written.card["left_out"]["items_with_unknown_grade"] == len(result.events) - len(known)
    assert written.card["held_out_and_kept"]["held_out_candidates"] >= len(known)  # validation rows are held out too


def test_a_replayed_member_of_a_mixture_takes_nothing_from_the_others(tiny: Any, tmp_path: Path):
    kinds = {"name": "mixture", "of": [{"name": "truth", "share": 0.5}, {"name": "replay", "share": 0.5}]}
    result = run(tiny(population=kinds, fidelity=False), tmp_path / "mixed")
    events = result.events
    unsure = set(events.filter(pc.invert(events["known"]))["user_id"].to_pylist())
    passed = events.filter(pc.equal(events["grade"].cast(pa.string()), "passed"))
    others = {user for user in passed["user_id"].to_pylist() if user not in unsure}
    assert others
    assert unsure
    records = Records.read(
        pairs(result.folder, tmp_path / "all.parquet", Wish(form="records", leaks="keep")).path, split_of(result).train
    )
    lost = records.candidates.grades == Grade.UNSEEN
    assert (
        int(lost.sum())
        == len(events)
        - pc.sum(events["known"]).as_py()
        + pc.sum(pc.equal(events["grade"].cast(pa.string()), "unseen")).as_py()
    )


@pytest.mark.parametrize("label", ["people", "replay-tuned"])
def test_the_word_replay_in_a_name_loses_no_row(tiny: Any, tmp_path: Path, label: str):
    population = {"name": "mixture", "of": [{"name": "truth", "label": label}]}
    result = run(tiny(population=population, fidelity=False), tmp_path / label)
    card = pairs(result.folder, tmp_path / f"{label}.jsonl", DROP).card
    assert card["left_out"]["items_with_unknown_grade"] == 0
    assert card["by_grades"]["liked over passed"] > 0


def test_a_log_that_does_not_say_what_is_known_is_refused(tiny: Any, tmp_path: Path):
    result = run(tiny(fidelity=False), tmp_path / "old")
    for path in (result.folder / "events").glob("part-*"):
        pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["known"]), path)
    with pytest.raises(RunError, match="no column 'known'"):
        pairs(result.folder, tmp_path / "pairs.jsonl", DROP)


def test_a_row_is_less_sure_where_an_agents_answer_had_to_be_repaired(tiny: Any, tmp_path: Path):
    result = run(tiny(population="llm", users=20, seeds=[0, 1], fidelity=False), tmp_path / "asked")

    def confidence(name: str) -> list[float]:
        rows = rows_of(pairs(result.folder, tmp_path / name, replace(DROP, form="kto")).path)
        return [row["confidence"] for row in rows]

    before = confidence("plain.jsonl")
    for path in (result.folder / "pages").glob("part-*"):
        pages = pq.read_table(path, partitioning=None)
        place = pages.column_names.index("reading")
        pq.write_table(pages.set_column(place, "reading", pa.array(["repaired"] * len(pages))), path)
    known = [one for one in before if one is not None]
    assert len(known) > 10
    assert [one for one in confidence("repaired.jsonl") if one is not None] == pytest.approx(
        [one / 2 for one in known], abs=1e-4
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "x.csv"], "its ending says how it is written; there are .jsonl and .parquet"),
        (["--out", "x.jsonl"], "were held out for the same user"),
        (["--out", "x.jsonl", "--leaks", "hide"], "--leaks hide: there are refuse, drop, keep"),
        (["--out", "x.jsonl", "--format", "dpo"], "--format dpo: there are trl, plain, kto, lists, records"),
        (["--out", "x.jsonl", "--format", "records"], "records are written as .parquet"),
        (["--out", "x.jsonl", "--format", "kto", "--by", "rating"], "its rows have no gap"),
        (["--out", "x.jsonl", "--leaks", "drop", "--balance", "size"], "balance size: there are popularity and length"),
        (["--out", "x.jsonl", "--leaks", "drop", "--policies", "mine"], "no policy 'mine' in its log"),
        (["--out", "x.jsonl", "--leaks", "drop", "--policies", ","], "no policy is named; there are "),
        (["--out", "x.jsonl", "--leaks", "drop", "--least-gap", "9"], "nothing to write"),
        (["--out", "x.jsonl", "--leaks", "drop", "--most-per-user", "0"], "it takes at least 1"),
        (["--out", "x.jsonl", "--leaks", "drop", "--history", "0"], "a history of 0 items"),
        (
            ["--out", "there.jsonl", "--leaks", "drop"],
            "exists already; choose another name, or replace it with --force",
        ),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_written(
    finished: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
):
    monkeypatch.chdir(tmp_path)
    Path("there.jsonl").write_text("mine", encoding="utf-8")
    found = CliRunner().invoke(app, ["pairs", str(finished.folder), *words])
    assert isinstance(found.exception, SimenvError)
    assert says in str(found.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["there.jsonl"]


def test_gaps_of_ratings_that_nobody_gave_are_told(
    finished: RunDir, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    records = pages_of(finished, split.train, window=20)
    unrated = replace(records.candidates, ratings=np.full_like(records.candidates.ratings, np.nan))
    monkeypatch.setattr(module, "pages_of", lambda *_, **__: replace(records, candidates=unrated))
    with pytest.raises(RunError, match="--by rating: its users gave no ratings"):
        pairs(finished.folder, tmp_path / "pairs.jsonl", replace(DROP, by="rating"))


def test_a_file_where_a_folder_is_due_is_told(finished: RunDir, tmp_path: Path):
    (tmp_path / "pairs.jsonl").write_text("")
    with pytest.raises(DataError, match=r"pairs\.jsonl is a file, where a folder is due"):
        pairs(finished.folder, tmp_path / "pairs.jsonl" / "more.jsonl", DROP)


def test_a_folder_that_is_no_run_is_told(tmp_path: Path):
    found = CliRunner().invoke(app, ["pairs", str(tmp_path), "--out", str(tmp_path / "x.jsonl")])
    assert isinstance(found.exception, SimenvError)
    assert "no run here" in str(found.exception)


def test_the_command_says_what_it_wrote(finished: RunDir, tmp_path: Path):
    path = tmp_path / "pairs.parquet"
    path.write_text("old", encoding="utf-8")
    words = [
        "pairs",
        str(finished.folder),
        "--out",
        str(path),
        "--leaks",
        "drop",
        "--policies",
        "pop, item-knn",
        "--force",
    ]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    rows = rows_of(path)
    assert f"{len(rows):,} rows of" in found.stdout
    assert {row["policy"] for row in rows} == {"pop", "item-knn"}
