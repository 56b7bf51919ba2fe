"""Learning by epochs: stopped early at its best, watched, interrupted and gone on with as if nothing had been."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError, StoreError
from simenv.ranking import rank
from simenv.recommenders import learned
from simenv.recommenders.bpr import BPR
from simenv.recommenders.ials import IALS
from simenv.recommenders.learned import Learned, checkpoint_folder, progress_folder
from simenv.recommenders.lightgcn import LightGCN
from simenv.recommenders.multvae import MultVAE
from simenv.recommenders.sasrec import SASRec
from simenv.recommenders.unisrec import UniSRec
from simenv.recommenders.vqrec import VQRec
from simenv.splits import Split
from simenv.store import Arrays, load_policy, read_state
from simenv.training import Epoch, Training, clock

Make = Callable[[], Learned]
PACE: dict[str, Any] = {"epochs": 5, "patience": 10}
SMALL = PACE | {"dimensions": 8}
READS = SMALL | {"window": 12, "batch_size": 256, "negatives": 16}
TEXTS = READS | {"text_dimensions": 16}
TRAINED: dict[str, Make] = {
    "bpr": lambda: BPR(**SMALL, negatives=2),
    "ials": lambda: IALS(**SMALL),
    "lightgcn": lambda: LightGCN(**SMALL, negatives=16, batch_size=256),
    "lightgcn by pairs": lambda: LightGCN(**SMALL, loss="bpr", batch_size=256),
    "multvae": lambda: MultVAE(hidden=8, latent=4, batch_size=16, **PACE),
    "sasrec": lambda: SASRec(**READS),
    "sasrec by gbce": lambda: SASRec(**READS, loss="gbce", layers=2, heads=2),
    "unisrec": lambda: UniSRec(**TEXTS, experts=2, identities=True),
    "vqrec": lambda: VQRec(**TEXTS, parts=4, codes=4),
}
each_trained = pytest.mark.parametrize("make", TRAINED.values(), ids=TRAINED.keys())


class Scripted(Learned):
    """After each epoch it serves as many users as its script says: these get what was held out, the others do not."""

    learnt = ("served",)

    def __init__(
        self, *, script: tuple[int, ...] = (2, 5, 9, 7, 8, 6, 10), patience: int = 3, check_every: int = 1
    ) -> None:
        self.script, self.patience, self.check_every = script, patience, check_every
        self.epochs = len(script)
        self.losses = [1 / (number + 1) for number in range(self.epochs)]
        self.ran: list[int] = []

    def begin(self, dataset: Dataset) -> None:
        self.now = np.zeros(len(dataset.users))

    def epoch(self, number: int) -> float:
        self.ran.append(number)
        self.now[:] = np.arange(len(self.now)) < self.script[number]
        return self.losses[number]

    def ready(self) -> None:
        self.served = self.now.copy()

    def progress(self) -> Arrays:
        return {"now": self.now}

    def resume(self, arrays: Arrays) -> None:
        self.now = arrays["now"].copy()

    def rank(self, context: Context, k: int) -> IntArray:
        """Rank all items from the highest number down; the held-out item 0 first for those who are served."""
        scores: FloatArray = np.tile(np.arange(self.item_count, dtype=float), (len(context), 1))
        scores[self.served[context.users] > 0, 0] = 1000
        return context.top(scores, k)


@pytest.fixture
def ten(split: Split) -> Split:
    """Ten users whose held-out item is the first, which they have not met."""
    log = split.train.interactions
    train = split.train.only(log[(log.users >= 10) & (log.items != 0)])
    held = split.valid[np.arange(10)]
    return Split(train, replace(held, users=np.arange(10), items=np.zeros(10, np.int32)), held, "by heart")


def watched(policy: Learned, split: Split, valid: bool = True, folder: Path | None = None) -> list[Epoch]:
    seen: list[Epoch] = []
    policy.train(split.train, Training(split.valid if valid else None, seen.append, folder))
    return seen


def stop_at(number: int) -> Callable[[Epoch], None]:
    def watch(news: Epoch) -> None:
        if news.done == number:
            raise KeyboardInterrupt

    return watch


def interrupted(policy: Learned, split: Split, folder: Path, after: int, valid: bool = True) -> None:
    with pytest.raises(KeyboardInterrupt):
        policy.train(split.train, Training(split.valid if valid else None, stop_at(after), folder))


def same(one: Learned, other: Learned) -> bool:
    mine, others = one.state(), other.state()
    return mine.keys() == others.keys() and all(np.array_equal(mine[name], others[name]) for name in mine)


def pages(policy: Learned, split: Split) -> list:
    return rank(policy, split.train, split.test, np.arange(40), 5).items.tolist()


def test_what_was_best_on_validation_rows_is_kept_and_the_rest_is_not_learnt(ten: Split):
    policy = Scripted()
    news = watched(policy, ten)

    assert policy.served.sum() == 9
    assert policy.ran == [0, 1, 2, 3, 4, 5], "three checks in a row were no better"
    assert [one.score for one in news] == pytest.approx([0.2, 0.5, 0.9, 0.7, 0.8, 0.6])


def test_a_better_check_begins_the_patience_anew(ten: Split):
    policy = Scripted(script=(5, 4, 6, 5, 4, 7, 1, 1), patience=3)
    watched(policy, ten)
    assert policy.served.sum() == 7
    assert len(policy.ran) == 8


def test_as_good_as_before_tries_the_patience(ten: Split):
    policy = Scripted(script=(3, 8, 8, 8, 8), patience=2)
    watched(policy, ten)
    assert policy.ran == [0, 1, 2, 3]


@pytest.mark.parametrize("patience", [0, 3])
def test_without_validation_rows_or_patience_it_learns_to_the_end(ten: Split, patience: int):
    policy = Scripted(patience=patience)
    news = watched(policy, ten, valid=not patience)
    assert policy.ran == [0, 1, 2, 3, 4, 5, 6]
    assert policy.served.sum() == 10
    assert [one.score for one in news] == [None] * 7


def test_it_is_checked_every_so_many_epochs_and_at_the_end(ten: Split):
    policy = Scripted(script=(9, 4, 9, 3, 9, 5, 6), check_every=2)
    news = watched(policy, ten)
    assert [one.score for one in news] == [None, *(pytest.approx(score) for score in (0.4, 0.4, 0.3, 0.3, 0.5, 0.6))]
    assert policy.served.sum() == 6


def test_each_epoch_is_told_with_its_loss_and_the_time_left(ten: Split):
    news = watched(Scripted(script=(1, 2, 3)), ten)
    assert [(one.done, one.total, one.loss) for one in news] == [(1, 3, 1), (2, 3, 1 / 2), (3, 3, 1 / 3)]
    assert all(one.seconds_left > 0 for one in news[:2])
    assert news[2].seconds_left == 0
    assert str(replace(news[1], seconds_left=187)) == (
        "epoch 2 of 3, loss 0.5, NDCG@10 on validation 0.2000, 3:07 min left"
    )
    assert str(Epoch(1, 9, 0.25, None, 42.4)) == "epoch 1 of 9, loss 0.25, 42 s left"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59, "59 s"), (60, "1:00 min"), (3600, "1:00 h")])
def test_a_time_is_told_in_words(seconds: float, words: str):
    assert clock(seconds) == words


@each_trained
def test_every_policy_tells_its_epochs(make: Make, split: Split):
    news = watched(make(), split)
    assert [(one.done, one.total) for one in news] == [(done, 5) for done in range(1, 6)]
    assert all(np.isfinite(one.loss) and one.score is not None for one in news)


@each_trained
@pytest.mark.parametrize("valid", [True, False])
def test_whoever_was_interrupted_goes_on_as_if_nothing_had_been(make: Make, valid: bool, split: Split, tmp_path: Path):
    """To the last bit; on the way he leaves what can be loaded and shows pages."""
    whole = make()
    watched(whole, split, valid)
    interrupted(make(), split, tmp_path, after=3, valid=valid)

    left = load_policy(checkpoint_folder(tmp_path))
    assert np.min(pages(left, split)) >= 0
    again = make()
    news = watched(again, split, valid, tmp_path)

    assert [one.done for one in news] == [4, 5]
    assert same(again, whole)
    assert pages(again, split) == pages(whole, split)


@each_trained
def test_an_epoch_that_was_interrupted_in_its_middle_begins_anew(make: Make, split: Split, tmp_path: Path):
    whole, cut = make(), make()
    watched(whole, split, valid=False)
    real = cut.epoch

    def epoch(number: int) -> float:
        loss = real(number)
        if number == 2:
            raise KeyboardInterrupt  # by now all has changed, but nothing has been told
        return loss

    cut.epoch = epoch
    with pytest.raises(KeyboardInterrupt):
        watched(cut, split, valid=False, folder=tmp_path)
    again = make()
    assert [one.done for one in watched(again, split, False, tmp_path)] == [3, 4, 5]
    assert same(again, whole)


@each_trained
@pytest.mark.parametrize("valid", [True, False])
def test_keeping_the_state_now_and_then_changes_nothing(
    make: Make, valid: bool, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole, kept = make(), make()
    watched(whole, split, valid)
    monkeypatch.setattr(learned, "SAVE_EVERY", 0.0)
    watched(kept, split, valid, tmp_path)
    assert progress_folder(tmp_path).exists()
    assert same(kept, whole)


def test_what_an_interrupted_training_leaves_says_how_far_it_came(ten: Split, tmp_path: Path):
    """The best of the epochs that were told, the third of four, can be loaded; the fourth is gone on from."""
    interrupted(Scripted(), ten, tmp_path, after=4)

    facts, arrays = read_state(checkpoint_folder(tmp_path))
    assert (facts["epochs_done"], facts["finished"]) == (4, False)
    assert arrays["served"].sum() == 9
    assert load_policy(checkpoint_folder(tmp_path)).served.sum() == 9
    facts, arrays = read_state(progress_folder(tmp_path))
    assert (facts["epochs_done"], facts["best_epoch"], facts["waited"]) == (4, 3, 1)
    assert arrays["next.now"].sum() == 7


def test_an_interrupt_in_an_epoch_leaves_the_epochs_before_it(ten: Split, tmp_path: Path):
    policy = Scripted()
    policy.losses[3] = None  # which no epoch may return; the interrupt comes first

    def epoch(number: int) -> float:
        if number == 3:
            raise KeyboardInterrupt
        return Scripted.epoch(policy, number)

    policy.epoch = epoch
    with pytest.raises(KeyboardInterrupt):
        watched(policy, ten, valid=False, folder=tmp_path)
    facts, arrays = read_state(checkpoint_folder(tmp_path))
    assert facts["epochs_done"] == 3
    assert arrays["served"].sum() == 9


def test_patience_and_the_best_outlast_an_interrupt(ten: Split, tmp_path: Path):
    interrupted(Scripted(), ten, tmp_path, after=5)
    again = Scripted()
    watched(again, ten, folder=tmp_path)
    assert again.ran == [5], "two of the three checks had been no better before"
    assert again.served.sum() == 9


def test_an_interrupt_without_a_folder_leaves_nothing(ten: Split):
    with pytest.raises(KeyboardInterrupt):
        Scripted().train(ten.train, Training(watch=stop_at(2)))


def test_a_loss_that_is_no_number_is_told_with_its_epoch(ten: Split):
    policy = Scripted()
    policy.losses[2] = float("nan")
    with pytest.raises(SimenvError, match=r"the loss became nan in epoch 3; a smaller learning rate would help"):
        policy.train(ten.train, Training())


@pytest.mark.filterwarnings("ignore:.*encountered")
@pytest.mark.parametrize(
    "policy",
    [
        BPR(dimensions=8, learning_rate=1e6, epochs=5),
        MultVAE(hidden=8, latent=4, learning_rate=1e30, epochs=5),
        SASRec(**READS, learning_rate=1e30),
    ],
    ids=["bpr", "multvae", "sasrec"],
)
def test_too_great_a_learning_rate_is_told(policy: Learned, split: Split):
    with pytest.raises(SimenvError, match=r"the loss became (nan|inf) in epoch \d; a smaller learning rate would help"):
        policy.fit(split.train)


def test_a_folder_with_the_learning_of_other_settings_is_refused(ten: Split, tmp_path: Path):
    interrupted(Scripted(patience=5), ten, tmp_path, after=2)
    with pytest.raises(StoreError, match=r"of other settings; delete it, or choose another folder"):
        watched(Scripted(), ten, folder=tmp_path)
    watched(Scripted(patience=5), ten, folder=tmp_path)


@pytest.mark.parametrize("make", [TRAINED["bpr"], TRAINED["ials"], TRAINED["sasrec"]])
def test_a_folder_with_the_learning_of_other_rows_is_refused(make: Make, split: Split, tmp_path: Path):
    interrupted(make(), split, tmp_path, after=2)
    log = split.train.interactions
    fewer = replace(split, train=split.train.only(log[np.arange(len(log)) > 0]))
    with pytest.raises(StoreError, match=r"of other rows; delete it, or choose another folder"):
        watched(make(), fewer, folder=tmp_path)
    watched(make(), split, folder=tmp_path)


def test_a_folder_with_the_learning_of_other_validation_rows_is_refused(ten: Split, tmp_path: Path):
    interrupted(Scripted(), ten, tmp_path, after=4)
    with pytest.raises(StoreError, match="holds the learning of other rows"):
        Scripted().train(ten.train, Training(None, folder=tmp_path))


def test_validation_rows_that_nobody_can_be_asked_are_told_and_do_not_stop_it(
    ten: Split, caplog: pytest.LogCaptureFixture
):
    policy = Scripted()
    policy.train(ten.train, Training(ten.train.interactions))

    assert policy.ran == list(range(7))
    assert "no validation row is new to its user" in caplog.text


def test_a_training_that_failed_leaves_an_unfitted_policy(ten: Split):
    policy = Scripted()
    policy.losses[1] = float("nan")
    with pytest.raises(SimenvError, match="the loss became nan"):
        watched(policy, ten, valid=False)
    with pytest.raises(SimenvError, match="has not been fitted"):
        policy.state()


def test_what_a_whole_training_leaves_says_that_it_is_whole(ten: Split, tmp_path: Path):
    watched(Scripted(), ten, folder=tmp_path)

    facts, arrays = read_state(checkpoint_folder(tmp_path))
    assert (facts["epochs_done"], facts["finished"]) == (6, True)
    assert arrays["served"].sum() == 9
