"""A run gives one log, whatever the batch size, the order of policies, and who pulled the plug."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import MissingExtra, RunError, SimenvError
from simenv.eventlog import EventLog
from simenv.pages import Page, Reaction
from simenv.recommenders.pop import Pop
from simenv.rundir import RunDir
from simenv.scenarios.runner import Step, rescore, run
from simenv.scenarios.scenario import Scenario, read_scenario

Tiny = Callable[..., Scenario]


def log_of(run: RunDir) -> tuple[list, list]:
    return run.events.to_pylist(), run.pages.to_pylist()


def by_policy(run: RunDir, policy: str) -> tuple[list, list]:
    return tuple([row for row in rows if row["policy"] == policy] for rows in log_of(run))


@pytest.mark.parametrize("size", [1, 7])
def test_the_batch_size_does_not_change_the_log(tmp_path: Path, tiny: Tiny, size: int):
    policies = ["random", "item-knn"]
    whole = run(tiny(policies=policies, batch_size=4096), tmp_path / "whole")
    parts = run(tiny(policies=policies, batch_size=size), tmp_path / "parts")

    assert log_of(parts) == log_of(whole)
    assert parts.read_json("metrics.json") == whole.read_json("metrics.json")


def test_the_order_of_policies_does_not_change_the_log(tmp_path: Path, tiny: Tiny):
    one = run(tiny(policies=["random", "pop"]), tmp_path / "one")
    other = run(tiny(policies=["pop", "random"]), tmp_path / "other")
    alone = run(tiny(policies=["pop"]), tmp_path / "alone")

    assert log_of(one) == log_of(other)
    assert by_policy(one, "pop") == log_of(alone)


def test_two_seeds_differ(finished: RunDir):
    grades = {
        seed: [
            (row["user_id"], row["page"], row["rank"], row["item_id"], row["grade"])
            for row in by_policy(finished, "pop")[0]
            if row["seed"] == seed
        ]
        for seed in (0, 1)
    }
    assert grades[0] != grades[1]


def test_a_seed_gives_the_same_alone_and_among_others(tmp_path: Path, tiny: Tiny, finished: RunDir):
    alone = run(tiny(policies=["pop"], seeds=[1]), tmp_path / "alone")

    assert log_of(alone)[1] == [row for row in by_policy(finished, "pop")[1] if row["seed"] == 1]


def test_no_item_is_shown_twice_in_a_session(finished: RunDir):
    sessions: dict[tuple, list] = {}
    for row in finished.events.to_pylist():
        sessions.setdefault((row["policy"], row["seed"], row["user_id"]), []).append(row["item_id"])
    assert len(sessions) == 3 * 2 * 40
    assert all(len(items) == len(set(items)) for items in sessions.values())


def test_every_item_of_the_log_is_in_the_catalogue_and_new_to_its_user(finished: RunDir, split):
    past = {}
    train = split.train
    for user, item in zip(train.interactions.users, train.interactions.items, strict=True):
        past.setdefault(train.users.ids[user], set()).add(train.catalog.ids[item])
    catalogue = set(finished.items["item_id"].to_pylist())
    for row in finished.events.to_pylist():
        assert row["item_id"] in catalogue
        assert row["item_id"] not in past[row["user_id"]]


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run begin without a trial, as if what is wrong came to light later."""
    monkeypatch.setattr("simenv.scenarios.runner._try_out", lambda *_: None)


class Recording(Pop):
    """Keeps every page that it gave, by user and page."""

    given: dict[tuple[int, int], list[int]] = {}  # noqa: RUF012

    def recommend(self, context: Context, k: int) -> IntArray:
        page = super().recommend(context, k)
        for user, number, items in zip(context.users, context.number, page, strict=True):
            self.given[int(user), int(number)] = items.tolist()
        return page


def test_what_is_logged_is_what_the_policy_gave(tmp_path: Path, tiny: Tiny, split, monkeypatch: pytest.MonkeyPatch):
    Recording.given = {}
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    result = run(tiny(policies=["stranger:Recording"], offline=None), tmp_path / "run")

    events, pages = log_of(result)
    assert {row["policy"] for row in events} == {"Recording"}
    items, users = split.train.catalog.ids, split.train.users.ids
    given = {
        (users[user], number, rank): items[item]
        for (user, number), page in Recording.given.items()
        for rank, item in enumerate(page)
    }
    assert {(row["user_id"], row["page"], row["rank"]): row["item_id"] for row in events} == given
    assert len(pages) == len(Recording.given)


def test_users_react_to_their_own_page(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    """The same pages dealt to other users give other reactions."""
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    shifted = {"name": "stranger:Dealt", "label": "shuffled", "shift": 1}
    scenario = tiny(policies=["stranger:Dealt", shifted], leave_out_past=False, offline=None, max_pages=1)

    result = run(scenario, tmp_path / "run")

    straight = {(row["user_id"], row["rank"]): row for row in by_policy(result, "Dealt")[0]}
    shuffled = {(row["user_id"], row["rank"]): row for row in by_policy(result, "shuffled")[0]}
    assert sorted(row["item_id"] for row in straight.values()) == sorted(row["item_id"] for row in shuffled.values())
    assert sum(straight[place]["grade"] != shuffled[place]["grade"] for place in straight) > len(straight) / 5


class Dealt:
    """Gives user u the items from u + shift on."""

    def __init__(self, *, shift: int = 0) -> None:
        self.shift = shift

    def fit(self, dataset: Dataset) -> None:
        self.users, self.items = len(dataset.users), len(dataset.catalog)

    def recommend(self, context: Context, k: int) -> IntArray:
        first = (context.users + self.shift) % self.users
        return (first[:, None] + np.arange(k)) % self.items


def test_a_random_policys_chances_are_logged(finished: RunDir, split):
    left = len(split.train.catalog) - np.diff(split.train.starts)
    for row in finished.events.to_pylist():
        if row["policy"] != "random":
            assert row["propensity"] is None
        else:
            user = np.flatnonzero(split.train.users.ids == row["user_id"])[0]
            assert row["propensity"] == pytest.approx(1 / (left[user] - 3 * row["page"]))


class Watchful(Pop):
    """Hears of every reaction and shows next what was liked least often."""

    heard: list[tuple[Page, Reaction]] = []  # noqa: RUF012

    def fit(self, dataset: Dataset) -> None:
        super().fit(dataset)
        self.shown = np.zeros(len(dataset.catalog), dtype=np.float32)

    def recommend(self, context: Context, k: int) -> IntArray:
        return context.top(np.tile(self.popularity - self.shown, (len(context), 1)), k)

    def observe(self, page: Page, reaction: Reaction) -> None:
        self.heard.append((page, reaction))
        np.add.at(self.shown, page.items[page.items >= 0], 1)


@pytest.mark.usefixtures("untried")
def test_a_policy_that_observes_hears_of_every_page(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    Watchful.heard = []
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    result = run(tiny(policies=["stranger:Watchful"], batch_size=16), tmp_path / "run")

    events, pages = log_of(result)
    assert sum(len(page.users) for page, _ in Watchful.heard) == len(pages)
    assert sum(int((reaction.grades == 4).sum()) for _, reaction in Watchful.heard) == sum(
        row["grade"] == "liked" for row in events
    )


class Raising(Pop):
    def recommend(self, context: Context, k: int) -> IntArray:  # noqa: ARG002
        raise ZeroDivisionError("no scores today")


class Unfit(Pop):
    def fit(self, dataset: Dataset) -> None:  # noqa: ARG002
        raise RuntimeError("no convergence")


class Poor(Pop):
    def fit(self, dataset: Dataset) -> None:  # noqa: ARG002
        raise MissingExtra("poor", "rich")


class Narrow(Pop):
    def recommend(self, context: Context, k: int) -> IntArray:
        return super().recommend(context, k)[:, 1:]


class Fractional(Pop):
    def recommend(self, context: Context, k: int) -> FloatArray:
        return super().recommend(context, k).astype(float)


class Astray(Pop):
    def recommend(self, context: Context, k: int) -> IntArray:
        return super().recommend(context, k) + 1000


class Silent(Pop):
    def recommend(self, context: Context, k: int) -> None:  # noqa: ARG002
        return None


class Heartless(Pop):
    def observe(self, page: Page, reaction: Reaction) -> None:  # noqa: ARG002
        raise KeyError("who?")


class Mispriced(Pop):
    def propensities(self, context: Context, items: IntArray) -> FloatArray:  # noqa: ARG002
        return np.ones(3)


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("offline", [None, 5])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Raising", "ZeroDivisionError: no scores today"),
        ("Unfit", "no convergence"),
        ("Poor", "pip install"),
        ("Narrow", ""),
        ("Fractional", ""),
        ("Astray", ""),
        ("Silent", ""),
        ("Heartless", "who?"),
        ("Mispriced", ""),
    ],
)
def test_a_policy_that_fails_is_named(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, name: str, told: str, offline: int | None
):
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])

    with pytest.raises(SimenvError, match=f"policy '{name}'") as error:
        run(tiny(policies=[f"stranger:{name}"], offline=offline), tmp_path / "run")

    assert told in str(error.value)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "failed"


class Broken:
    """Users who cannot react."""

    def fit(self, dataset: Dataset) -> None:
        """Learn nothing."""

    def enter(self, users: IntArray, luck: IntArray) -> "Broken":  # noqa: ARG002
        return self

    def react(self, page: Page) -> Reaction:  # noqa: ARG002
        raise OSError("nobody answers")


def test_a_population_that_fails_is_named(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])

    with pytest.raises(SimenvError, match=r"population 'stranger:Broken'.*nobody answers"):
        run(tiny(population="stranger:Broken"), tmp_path / "run")


def test_metrics_measured_again_are_the_same(tmp_path: Path, tiny: Tiny):
    result = run(tiny(seeds=[0, 1]), tmp_path / "run")
    names = ("metrics.json", "comparisons.json")
    before = [(result.folder / name).read_text() for name in names]
    for name in names:
        (result.folder / name).unlink()

    rescore(RunDir.open(result.folder))

    assert [(result.folder / name).read_text() for name in names] == before


def test_the_manifest_tells_how_to_repeat_the_run(tmp_path: Path, tiny: Tiny):
    result = run(tiny(), tmp_path / "run", command="simenv run tiny")

    manifest = RunDir.open(tmp_path / "run").manifest
    assert manifest["status"] == "complete"
    assert manifest["command"] == "simenv run tiny"
    assert manifest["users"] == 40
    assert [policy["label"] for policy in manifest["policies"]] == ["random", "pop"]
    again = read_scenario(str(result.folder / "scenario.yaml"))
    assert log_of(run(again, tmp_path / "again")) == log_of(result)


def test_a_watcher_hears_how_far_the_run_has_come(tmp_path: Path, tiny: Tiny):
    steps: list[Step] = []
    run(tiny(seeds=[0, 1], batch_size=10), tmp_path / "run", watch=steps.append)

    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].total == 2 * 2 * 40


def test_a_run_is_not_written_over(tmp_path: Path, tiny: Tiny):
    run(tiny(), tmp_path / "run")
    with pytest.raises(RunError, match="--resume"):
        run(tiny(), tmp_path / "run")


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, tiny: Tiny):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(RunError, match="not a run"):
        run(tiny(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"page_size": 4}, "page_size"),
        ({"max_pages": 5}, "max_pages"),
        ({"seeds": [1]}, "seeds"),
        ({"policies": ["pop"]}, "policy"),
        ({"population": {"name": "truth", "look": 0.5}}, "population"),
        ({"dataset": {"name": "films", "users": 40, "items": 80, "seed": 1}}, "dataset"),
        ({"split": {"by": "time"}}, "dataset"),
        ({"users": 20}, "users"),
        ({"leave_out_past": False}, "leave_out_past"),
    ],
)
def test_another_scenario_cannot_be_resumed(tmp_path: Path, tiny: Tiny, change: dict, told: str):
    run(tiny(), tmp_path / "run")
    with pytest.raises(RunError, match=f"cannot resume.* has {told}"):
        run(tiny(**change), tmp_path / "run", resume=True)


def test_a_finished_run_is_not_simulated_again(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    Recording.given = {}
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    scenario = tiny(policies=["stranger:Recording"])
    before = log_of(run(scenario, tmp_path / "run"))
    Recording.given = {}

    again = run(scenario, tmp_path / "run", resume=True)

    assert not Recording.given
    assert log_of(again) == before


def test_only_what_is_missing_is_simulated(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    scenario = tiny(policies=["stranger:Recording"], batch_size=10, offline=None)
    before = log_of(run(scenario, tmp_path / "run"))
    lost = sorted((tmp_path / "run" / "pages").iterdir())[1]
    lost.unlink()
    Recording.given = {}

    again = run(scenario, tmp_path / "run", resume=True)

    assert len({user for user, _ in Recording.given}) == 10
    assert log_of(again) == before


KILLABLE = """
import sys
from pathlib import Path
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import read_scenario
run(read_scenario(sys.argv[1]), Path(sys.argv[2]), resume=True)
"""


@pytest.mark.parametrize("parts", [1, 6, 13])
def test_a_run_that_was_killed_goes_on_to_the_same_log(
    tmp_path: Path, tiny_file: Callable[..., Path], tiny: Tiny, parts: int
):
    """Killed when this many parts stand in the log."""
    changes = {"policies": ["random", "pop"], "seeds": [0, 1], "batch_size": 4}
    whole = run(tiny(**changes), tmp_path / "whole")
    folder = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", KILLABLE, tiny_file(**changes), folder])
    while child.poll() is None and (not folder.exists() or len(list(folder.glob("pages/part-*"))) < parts):
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("pages/part-*")}

    again = run(tiny(**changes), folder, resume=True)

    assert log_of(again) == log_of(whole)
    assert again.read_json("metrics.json") == whole.read_json("metrics.json")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize("after", ["manifest.json", "scenario.yaml", "items.parquet", "users.parquet"])
def test_a_run_killed_while_its_folder_was_laid_goes_on(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, after: str
):
    """The plug is pulled when this file has just been written."""

    class Killed(BaseException):
        pass

    def stop(name: str) -> None:
        if name == after:
            raise Killed

    with monkeypatch.context() as patch:
        for deed in ("write_text", "write_table"):
            plain = getattr(RunDir, deed)
            patch.setattr(RunDir, deed, lambda self, name, what, plain=plain: (plain(self, name, what), stop(name)))
        with pytest.raises(Killed):
            run(tiny(), tmp_path / "run")

    assert run(tiny(), tmp_path / "run", resume=True).manifest["status"] == "complete"


def test_a_policy_that_observes_is_the_same_after_a_crash(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    """It answers later users by earlier ones, so a seed of its is done again as a whole."""
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    scenario = tiny(policies=["stranger:Watchful"], seeds=[0, 1], batch_size=8)
    whole = run(scenario, tmp_path / "whole")
    run(scenario, tmp_path / "run")
    for part in (tmp_path / "run" / "pages").glob("part-Watchful-1-*"):
        part.unlink()

    assert log_of(run(scenario, tmp_path / "run", resume=True)) == log_of(whole)


def test_an_interrupted_run_says_so(tmp_path: Path, tiny: Tiny):
    def watch(step: Step) -> None:
        if step.done >= 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny(batch_size=10), tmp_path / "run", watch=watch)

    assert RunDir.open(tmp_path / "run").manifest["status"] == "stopped"
    assert EventLog(tmp_path / "run").finished("random", 0)


def test_items_may_come_again_where_the_scenario_lets_them(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    once = run(tiny(policies=["stranger:Dealt"], leave_out_past=False), tmp_path / "once")
    again = run(tiny(policies=["stranger:Dealt"], leave_out_past=False, leave_out_shown=False), tmp_path / "again")

    assert {row["page"] for row in log_of(once)[0]} == {0}
    assert {row["page"] for row in log_of(again)[0]} == {0, 1, 2, 3}


class Faltering(Watchful):
    """Stops the run at its so-manieth page."""

    left = 0

    def observe(self, page: Page, reaction: Reaction) -> None:
        super().observe(page, reaction)
        Faltering.left -= 1
        if Faltering.left == 0:
            raise KeyboardInterrupt


def test_a_policy_that_observes_begins_a_broken_seed_anew(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    """What it saw of half of the users is gone, so it has to meet them again."""
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    scenario = tiny(policies=["stranger:Faltering"], batch_size=8)
    whole = run(scenario, tmp_path / "whole")
    Faltering.left = 3  # of four pages
    with pytest.raises(KeyboardInterrupt):
        run(scenario, tmp_path / "run")

    assert log_of(run(scenario, tmp_path / "run", resume=True)) == log_of(whole)


def test_policies_offline_are_told_apart_by_their_differences_on_the_same_users(finished: RunDir):
    from simenv.metrics import OFFLINE, _qualities

    rows = [row for row in finished.read_json("comparisons.json") if row["metric"].startswith("ndcg")]
    assert len(rows) == 3
    for row in rows:
        values = {}
        for side in ("policy", "against"):
            users, quality = _qualities(finished.rankings[row[side]], 20)
            values[side] = dict(zip(users, quality[:, list(OFFLINE).index("ndcg")], strict=True))
        gaps = [values["policy"][user] - values["against"][user] for user in values["policy"]]
        assert row["difference"] == pytest.approx(np.mean(gaps))
        assert row["n"] == len(gaps)


def test_what_keeps_a_run_from_being_resumed_is_told_part_by_part(tmp_path: Path, tiny: Tiny):
    run(tiny(policies=["pop", {"name": "item-knn", "neighbours": 20}]), tmp_path / "run")
    other = tiny(policies=["pop", {"name": "item-knn", "neighbours": 30}], page_size=4)
    with pytest.raises(RunError) as error:
        run(other, tmp_path / "run", resume=True)
    assert "policy.item-knn.neighbours 20 and this one 30" in str(error.value)
    assert "page_size 3 and this one 4" in str(error.value)
    assert "{" not in str(error.value)
