"""Stages teach what they say: a planted preference is taken up by each objective, and held-out rows are not touched."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.dataset import grades_of  # noqa: E402
from simenv.errors import SimenvError  # noqa: E402
from simenv.films import films_world  # noqa: E402
from simenv.pages import EMPTY, Grade  # noqa: E402
from simenv.preferences.leaks import leaks_of  # noqa: E402
from simenv.preferences.pasts import past_of  # noqa: E402
from simenv.preferences.records import Graded, Records, begins, make_records  # noqa: E402
from simenv.recommenders.generative import curriculum  # noqa: E402
from simenv.recommenders.generative.curriculum import Lesson, records_of, rewarded_beams, taught  # noqa: E402
from simenv.recommenders.generative.histories import Histories, unlikelihood  # noqa: E402
from simenv.recommenders.generative.policy import Generative  # noqa: E402
from simenv.splits import Split, leave_one_out  # noqa: E402


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(films_world(users=80, items=60).dataset)


def fitted(split: Split, seed: int = 0) -> Generative:
    policy = Generative(codes=8, levels=2, dimensions=32, heads=2, layers=1, epochs=3, window=8, beams=10, seed=seed)
    policy.fit(split.train)
    return policy


def planted(split: Split, window: int = 8) -> Records:
    """Everybody was shown six items: those of an even number are liked, the others passed over."""
    train = split.train
    users = np.arange(len(train.users))
    rng = np.random.default_rng(1)
    items = np.stack([rng.choice(len(train.catalog), 6, replace=False) for _ in users])
    grades = np.where(items % 2 == 0, Grade.LIKED, Grade.PASSED).astype(np.int8)
    ratings = np.full(items.size, np.nan, dtype=np.float32)
    shown = Graded(begins(np.full(len(users), 6)), items.reshape(-1), grades.reshape(-1), ratings)
    return make_records(users, past_of(train, users, window), shown, "simulated")


def share_even(policy: Generative, split: Split) -> float:
    """How much of what is recommended is even."""
    users = np.arange(len(split.train.users))
    log = split.train.interactions
    items = np.full((len(users), 8), EMPTY)
    for user in users:
        mine = log.items[split.train.starts[user] : split.train.starts[user + 1]][-8:]
        items[user, 8 - len(mine) :] = mine
    told = np.concatenate([policy.write(items[first : first + 32], None, 10) for first in range(0, len(users), 32)])
    return float((told % 2 == 0).mean())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("objective", "options"),
    [("listwise", {"beta": 1.0}), ("group", {"kl": 0.0}), ("cross-entropy", {})],
)
def test_each_objective_takes_up_what_was_planted(split, monkeypatch, seed, objective, options):
    records = planted(split)
    monkeypatch.setattr(curriculum, "records_of", lambda *_: records)
    policy = fitted(split, seed)
    before = share_even(policy, split)
    lesson = Lesson(
        "simulated", objective, options, epochs=6, learning_rate=3e-3, batch_size=16, most_lost=1.0, seed=seed
    )
    told = taught(policy, lesson, replace(split, valid=split.valid[:0]))
    assert share_even(policy, split) > before + 0.05
    assert told.prompts > 0
    assert told.kept == 6


def test_an_anchor_holds_what_real_users_did_next(split, monkeypatch):
    """The planted preference runs against nothing that is logged, yet taken up alone it unlearns the log."""
    monkeypatch.setattr(curriculum, "records_of", lambda *_: planted(split))
    blind = replace(split, valid=split.valid[:0])
    histories = Histories.of(split.train, 8)
    laid = next(histories.batches(100_000, np.random.default_rng(0)))

    def told(**options) -> tuple[float, float]:
        policy = fitted(split)
        lesson = Lesson("simulated", options={"beta": 1.0}, epochs=4, learning_rate=3e-3, batch_size=16, **options)
        taught(policy, lesson, blind)
        with torch.no_grad():
            loss = unlikelihood(policy.model, *histories.written(policy.prompting, laid), policy.among)
        return float(loss), share_even(policy, split)

    first = fitted(split)
    with torch.no_grad():
        begun = float(unlikelihood(first.model, *histories.written(first.prompting, laid), first.among))
    free, anchored = told(), told(anchor=1.0)
    assert anchored[0] < min(free[0], begun) - 0.02
    assert anchored[1] > share_even(first, split) + 0.05


def test_an_anchored_stage_that_broke_off_comes_to_the_same(split, monkeypatch, tmp_path):
    monkeypatch.setattr(curriculum, "records_of", lambda *_: planted(split))
    blind = replace(split, valid=split.valid[:0])
    lesson = Lesson("simulated", epochs=3, learning_rate=1e-3, batch_size=16, anchor=0.5)
    whole, broken, again = fitted(split), fitted(split), fitted(split)
    taught(whole, lesson, blind)

    def stop(epoch) -> None:
        if epoch.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught(broken, lesson, blind, folder=tmp_path / "stage", watch=stop)
    taught(again, lesson, blind, folder=tmp_path / "stage")
    ours, theirs = whole.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_what_loses_too_much_of_the_validation_rows_is_not_kept(split, monkeypatch):
    monkeypatch.setattr(curriculum, "records_of", lambda *_: planted(split))
    scores = iter([0.5, 0.49, 0.4])
    monkeypatch.setattr(curriculum, "ndcg", lambda *_, **__: next(scores))
    policy = fitted(split)
    told = taught(policy, Lesson("simulated", epochs=2, learning_rate=1e-3), split)
    assert told.valid == (0.5, 0.49, 0.4)
    assert told.kept == 1


def test_where_nothing_is_good_enough_the_policy_stays_as_it_was(split, monkeypatch):
    monkeypatch.setattr(curriculum, "records_of", lambda *_: planted(split))
    scores = iter([0.5, 0.1])
    monkeypatch.setattr(curriculum, "ndcg", lambda *_, **__: next(scores))
    policy = fitted(split)
    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    told = taught(policy, Lesson("simulated", epochs=1, learning_rate=1e-2), split)
    assert told.kept == 0
    assert all(torch.equal(weight, before[name]) for name, weight in policy.model.state_dict().items())


@pytest.mark.parametrize("source", ["self-play", "logged"])
def test_held_out_rows_reach_no_record(split, source):
    policy = fitted(split)
    records = records_of(policy, Lesson(source, beams=10), split, None)
    assert len(records)
    found = leaks_of(records, split)
    assert not found.candidates.any()
    assert not found.history.any()


def test_of_logged_rows_only_what_is_disliked_is_rejected_if_so_told(split):
    """What nobody was shown stands against what was chosen only where nothing else is asked for."""
    policy = fitted(split)
    records = records_of(policy, Lesson("logged"), split, None)
    log = split.train.interactions
    disliked = grades_of(log.ratings) == Grade.DISLIKED
    known = set(zip(log.users[disliked].tolist(), log.items[disliked].tolist(), strict=True))
    for against in ("disliked", "both"):
        offers = curriculum._offers(policy, Lesson("logged", against=against), records, split)
        wrong = (offers.worth == 0) & (offers.candidates != EMPTY)
        who = np.broadcast_to(offers.users[:, None], wrong.shape)[wrong].tolist()
        rejected = set(zip(who, offers.candidates[wrong].tolist(), strict=True))
        assert rejected
        assert (rejected <= known) == (against == "disliked")


def test_self_play_sets_what_the_policy_writes_against_what_was_chosen(split):
    policy = fitted(split)
    records = records_of(policy, Lesson("self-play", beams=10, records=50), split, None)
    chosen = records.candidates.grades == Grade.LIKED
    assert np.bincount(records.candidates.rows[chosen], minlength=len(records)).max() == 1
    assert len(set(records.levels[~chosen].tolist())) > 1  # easy, medium or hard


def test_beams_are_rewarded_for_the_true_item_and_never_for_what_is_held_out(split):
    policy = fitted(split)
    offers = rewarded_beams(policy, Lesson("self-play", "group", beams=20), split)
    held = set(zip(split.test.users.tolist(), split.test.items.tolist(), strict=True))
    assert (offers.worth.max(axis=1) == 1).all()
    for user, items, worth in zip(offers.users.tolist(), offers.candidates, offers.worth, strict=True):
        assert not held & {(user, item) for item in items.tolist()}
        wrong = worth[(items != EMPTY) & (worth < 1)]
        assert (wrong < 0).all()
        assert (np.diff(wrong) >= 0).all()  # the higher it stood, the more it loses


def test_a_policy_that_is_rewarded_for_the_true_item_finds_it_more_often(split):
    policy = fitted(split)
    lesson = Lesson("self-play", "group", {"kl": 0.0}, beams=20, epochs=8, learning_rate=2e-3, most_lost=1.0)
    before = rewarded_beams(policy, lesson, split)
    told = taught(policy, lesson, replace(split, valid=split.valid[np.arange(0)]))
    assert told.chosen[1] > told.chosen[0]
    assert len(before) == told.prompts


def test_a_stage_broken_off_goes_on_to_the_same_weights(split, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("simenv.language.course.SAVE_EVERY", 0.0)
    lesson = Lesson("self-play", beams=8, records=40, epochs=3, learning_rate=1e-3, most_lost=1.0)
    whole, broken = fitted(split), fitted(split)
    taught(whole, lesson, split)

    class Killed(Exception):
        """A crash."""

    def crash(epoch: object) -> None:
        if epoch.done == 2:
            raise Killed

    with pytest.raises(Killed):
        taught(broken, lesson, split, folder=tmp_path / "progress", watch=crash)
    again = fitted(split)
    taught(again, lesson, split, folder=tmp_path / "progress")
    assert all(
        torch.equal(one, other) for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True)
    )


def test_what_cannot_be_is_told(split):
    policy = fitted(split)
    with pytest.raises(SimenvError, match="needs a run"):
        taught(policy, Lesson("simulated"), split)
    with pytest.raises(SimenvError, match="objective listwise"):
        taught(policy, Lesson("logged", options={"alpha": 1}), split)
    other = leave_one_out(films_world(users=20, items=40).dataset)
    with pytest.raises(SimenvError, match="tokenizer was fitted to"):
        taught(policy, Lesson("logged"), other)
