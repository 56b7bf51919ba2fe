"""What was fitted once to the same rows, with the same settings, by the same code, is taken again; nothing else is."""

import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from simenv.agents.choice import ChoicePopulation
from simenv.agents.half import HalfPopulation
from simenv.agents.mixture import Member
from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.films import films_world
from simenv.loop import luck_of
from simenv.pages import Page, Reaction
from simenv.ranking import rank
from simenv.recommenders.learned import Learned
from simenv.recommenders.oracle import Oracle
from simenv.recommenders.pop import Pop
from simenv.scenarios import fitted as room
from simenv.scenarios.cache_commands import list_command
from simenv.scenarios.fitted import (
    Fitted,
    clear_cache,
    fingerprint,
    fitted,
    fitted_population,
    forget_oldest,
    kept_policies,
)
from simenv.scenarios.steps import Step
from simenv.splits import Split, leave_one_out
from simenv.store import Arrays


class Slow(Learned):
    """Comes nearer to the items' popularity with every epoch, and is interrupted where it is told to be."""

    learnt = ("scores",)
    stop_at: int | None = None
    ran: list[int] = []  # noqa: RUF012

    def __init__(self, *, epochs: int = 6, rate: float = 0.5, sizes: tuple[int, ...] = (8, 4)) -> None:
        self.epochs, self.rate, self.sizes = epochs, rate, sizes
        self.patience = 0

    def begin(self, dataset: Dataset) -> None:
        self.goal: FloatArray = dataset.popularity.astype(np.float32)
        self.now = np.zeros_like(self.goal)

    def epoch(self, number: int) -> float:
        if number == self.stop_at:
            raise KeyboardInterrupt
        self.ran.append(number)
        self.now += self.rate * (self.goal - self.now)
        return float(np.abs(self.goal - self.now).mean())

    def ready(self) -> None:
        self.scores = self.now.copy()

    def progress(self) -> Arrays:
        return {"now": self.now}

    def resume(self, arrays: Arrays) -> None:
        self.now = arrays["now"].copy()

    def rank(self, context: Context, k: int) -> IntArray:
        return context.top(np.tile(self.scores, (len(context), 1)), k)


class Watchful(Pop):
    def observe(self, page: Page, reaction: Reaction) -> None:
        """Take note."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """A cache of its own, in which even what was fitted in no time is kept."""
    monkeypatch.setenv("SIMENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(room, "WORTH_KEEPING", 0.0)
    monkeypatch.setattr(Slow, "stop_at", None)
    monkeypatch.setattr(Slow, "ran", [])
    caplog.set_level(logging.INFO, "simenv")
    return tmp_path / "cache" / "fitted"


def made(split: Split, policy: object = None, fresh: bool = False, **options: object) -> Fitted:
    return fitted(policy or Slow(**options), "slow", split, options=options, fresh=fresh)


def pages(found: Fitted, split: Split) -> list:
    return rank(found.policy, split.train, split.test, np.arange(40), 5).items.tolist()


def test_the_second_time_it_is_taken_as_it_was(split: Split, caplog: pytest.LogCaptureFixture):
    first, second = made(split), made(split)

    assert (first.reused, second.reused) == (False, True)
    assert Slow.ran == [0, 1, 2, 3, 4, 5]
    assert pages(first, split) == pages(second, split)
    assert (second.seconds, second.on) == (first.seconds, first.on)
    assert f"slow: fitted in no time, kept as {first.fingerprint[:12]}" in caplog.text
    assert f"slow: reused, fitted on {first.on} in no time (fingerprint" in caplog.text


def test_another_setting_or_other_rows_are_fitted_anew(split: Split):
    made(split)
    assert not made(split, rate=0.25).reused
    assert not made(leave_one_out(films_world(users=40, items=80, seed=1).dataset)).reused
    assert not made(Split(split.train, split.valid[np.arange(5)], split.test, "")).reused  # it tells when to stop
    assert made(split).reused


def test_other_code_is_fitted_anew(split: Split, monkeypatch: pytest.MonkeyPatch):
    made(split)
    monkeypatch.setattr(room, "code_hash", lambda *_: "as changed")
    assert not made(split).reused


def test_an_option_that_the_policy_hides_counts(split: Split):
    class Hiding(Pop):
        def __init__(self, depth: int = 0) -> None:
            self._depth = depth

    assert fingerprint(Hiding(1), split, {"depth": 1}) != fingerprint(Hiding(2), split, {"depth": 2})


def test_a_file_that_an_option_points_to_counts(split: Split, tmp_path: Path):
    (tmp_path / "model").mkdir()
    options = {"pretrained": str(tmp_path / "model")}
    marks = {fingerprint(Pop(), split, options)}
    for words in ("as it was", "as it is now"):
        (tmp_path / "model" / "weights").write_text(words)
        marks.add(fingerprint(Pop(), split, options))
    assert len(marks) == 3


def test_another_version_of_a_package_counts(split: Split, monkeypatch: pytest.MonkeyPatch):
    assert any(line.startswith("numpy ") for line in room.package_versions())
    made(split)
    monkeypatch.setattr(room, "package_versions", lambda: ("numpy 99",))
    assert not made(split).reused


def test_fresh_fits_anew_and_keeps_that(split: Split):
    first = made(split)
    assert not made(split, fresh=True).reused
    assert len(Slow.ran) == 12
    assert made(split).fingerprint == first.fingerprint


def test_what_is_fitted_in_no_time_is_not_kept(split: Split, monkeypatch: pytest.MonkeyPatch, own_cache: Path):
    monkeypatch.setattr(room, "WORTH_KEEPING", 60.0)
    made(split)
    assert not made(split).reused
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize("policy", [Watchful, lambda: Oracle(films_world(users=40, items=80).truth)])
def test_who_observes_or_knows_the_truth_is_not_shared(split: Split, policy, own_cache: Path):
    assert made(split, policy()).fingerprint is None
    assert not made(split, policy()).reused
    assert not own_cache.exists()


def test_a_training_that_was_interrupted_goes_on(split: Split, monkeypatch: pytest.MonkeyPatch, own_cache: Path):
    whole = pages(made(split), split)
    clear_cache()
    monkeypatch.setattr(Slow, "ran", [])
    monkeypatch.setattr(Slow, "stop_at", 4)
    with pytest.raises(KeyboardInterrupt):
        made(split)
    monkeypatch.setattr(Slow, "stop_at", None)

    found = made(split)

    assert Slow.ran == [0, 1, 2, 3, 4, 5]
    assert pages(found, split) == whole
    assert not list(own_cache.glob("*/learning"))
    assert made(split).reused


def test_a_damaged_checkpoint_is_told_and_the_training_begins_anew(
    split: Split, monkeypatch: pytest.MonkeyPatch, own_cache: Path, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(Slow, "stop_at", 4)
    with pytest.raises(KeyboardInterrupt):
        made(split)
    monkeypatch.setattr(Slow, "stop_at", None)
    for file in own_cache.rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-5])

    made(split)

    assert Slow.ran == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    assert "begins anew" in caplog.text


@pytest.mark.parametrize("name", ["policy.json", "arrays.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_a_damaged_policy_is_told_and_fitted_again(
    split: Split, own_cache: Path, caplog: pytest.LogCaptureFixture, name: str, content: bytes | None
):
    made(split)
    (file,) = own_cache.glob(f"*/policy/{name}")
    file.unlink() if content is None else file.write_bytes(content)

    assert not made(split).reused
    assert "is damaged, so it is fitted again" in caplog.text
    assert made(split).reused


def test_a_cache_that_cannot_be_written_stops_nobody(split: Split, own_cache: Path, caplog: pytest.LogCaptureFixture):
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("a file where a folder is due")
    assert not made(split).reused
    assert "nothing can be kept" in caplog.text


def test_whoever_comes_second_waits_and_takes_what_the_first_fitted(split: Split):
    assert split.train.fingerprint
    found: list[Fitted] = []
    threads = [threading.Thread(target=lambda: found.append(made(split))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.reused for one in found) == [False, True, True]
    assert len({tuple(map(tuple, pages(one, split))) for one in found}) == 1


def test_the_epochs_are_watched(split: Split):
    steps: list[Step] = []
    fitted(Slow(epochs=3), "slow", split, options={"epochs": 3}, watch=steps.append)
    assert [(step.stage, step.done, step.total, step.unit) for step in steps] == [
        ("training slow", done, 3, "epochs") for done in (0, 1, 2, 3)
    ]
    assert (steps[0].note, steps[0].left) == ("the first epoch", "")
    assert all("loss" in step.note and "left" in step.left for step in steps[1:])


def test_a_policy_that_fails_is_named(split: Split):
    class Unfit(Pop):
        def fit(self, dataset: Dataset) -> None:  # noqa: ARG002
            raise RuntimeError("no convergence")

    with pytest.raises(SimenvError, match="policy 'slow' failed in fit: RuntimeError: no convergence"):
        made(split, Unfit())


def test_the_cache_can_be_listed_and_cleared(split: Split):
    made(split)
    (kept,) = kept_policies()
    assert (kept.about["label"], kept.about["data"]) == ("slow", "films")
    assert kept.bytes > 0
    assert clear_cache() == 1
    assert kept_policies() == []


def test_the_seconds_before_an_interrupt_count(split: Split, monkeypatch: pytest.MonkeyPatch, own_cache: Path):
    """What took long is kept, though its last leg was short."""
    monkeypatch.setattr(room, "WORTH_KEEPING", 100.0)
    monkeypatch.setattr(Slow, "stop_at", 5)
    with pytest.raises(KeyboardInterrupt):
        made(split)
    monkeypatch.setattr(Slow, "stop_at", None)
    (spent,) = own_cache.glob(f"*/learning/{room.SPENT}")
    assert 0 < float(spent.read_text()) < 60
    spent.write_text("100.0")

    assert made(split).seconds > 100
    assert made(split).reused


def test_fresh_leaves_what_was_kept_until_there_is_another(split: Split, monkeypatch: pytest.MonkeyPatch):
    made(split)
    monkeypatch.setattr(Slow, "stop_at", 2)
    with pytest.raises(KeyboardInterrupt):
        made(split, fresh=True)
    monkeypatch.setattr(Slow, "stop_at", None)

    assert made(split).reused


def test_a_model_that_a_package_carries_counts(split: Split, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """So does a path deep in the options."""
    package = tmp_path / "a_model_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "modules.json").write_text("[]")
    monkeypatch.syspath_prepend(tmp_path)

    def mark() -> str | None:
        return room.fingerprint(Slow(), split, {"deep": [{"model": "a-model-of-mine"}]})

    before = mark()
    assert mark() == before
    (package / "modules.json").write_text("[1]")
    assert mark() != before


def users(seed: int = 0) -> HalfPopulation:
    return HalfPopulation(of=[Member("choice", ChoicePopulation(seed=seed))])


def test_users_are_fitted_once_and_are_the_same_when_they_are_taken_again(
    split: Split, caplog: pytest.LogCaptureFixture, own_cache: Path
):
    first, second, other = users(), users(), users(seed=1)
    steps: list[Step] = []
    options = {"of": [{"name": "choice", "seed": 0}]}

    took = fitted_population(first, "half", split.train, options=options, watch=steps.append)
    assert fitted_population(second, "half", split.train, options=options) == took
    fitted_population(other, "half", split.train, options={"of": [{"name": "choice", "seed": 1}]})

    assert "users 'half': reused" in caplog.text
    assert [(step.done, step.total) for step in steps] == [(done, 10) for done in range(1, 11)]
    pairs = np.arange(40), np.arange(40)
    judged = [one.judge(*pairs, luck_of(0, pairs[0])) for one in (first, second, other)]
    assert np.array_equal(judged[0].wanted, judged[1].wanted)
    assert np.array_equal(judged[0].ratings, judged[1].ratings, equal_nan=True)
    assert not np.array_equal(judged[0].wanted, judged[2].wanted)
    assert not list(own_cache.rglob("*.pkl"))


def test_users_of_other_rows_are_fitted_anew(split: Split, caplog: pytest.LogCaptureFixture):
    for rows in (split.train, split.train.only(split.train.interactions[::2])):
        fitted_population(ChoicePopulation(), "choice", rows, options={})
    assert "reused" not in caplog.text


def test_what_was_not_used_for_longest_is_forgotten(
    split: Split, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    marks = {rate: made(split, rate=rate).fingerprint for rate in (0.1, 0.2, 0.3)}
    for place, rate in enumerate((0.2, 0.3, 0.1)):  # 0.1 was used last, though it was fitted first
        for path in (room.cache_home() / str(marks[rate])).glob("**"):
            os.utime(path, (1e9 + place, 1e9 + place))
    size = sum(one.bytes for one in kept_policies())
    list_command()
    assert f"3 kept in {room.cache_home()}, {size / 1e6:,.1f} MB of at most 10 GB" in " ".join(
        capsys.readouterr().out.split()
    )

    monkeypatch.setenv("SIMENV_CACHE_GB", str(2.9 * size / 3 / 1e9))
    assert forget_oldest() == 1
    assert {one.folder.name for one in kept_policies()} == {marks[0.1], marks[0.3]}
    monkeypatch.setenv("SIMENV_CACHE_GB", "much")
    with pytest.raises(SimenvError, match="a number of gigabytes"):
        forget_oldest()
