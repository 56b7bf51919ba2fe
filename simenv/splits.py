"""Cutting a data set into what may be learnt from and what is held out."""

from dataclasses import dataclass

import numpy as np

from .arrays import WordArray
from .dataset import Dataset
from .errors import DataError
from .interactions import NO_TIME, Interactions


@dataclass(frozen=True, eq=False)
class Split:
    """Training rows as a data set of their own; the held-out rows beside it."""

    train: Dataset
    valid: Interactions
    test: Interactions
    protocol: str  # how it was cut, in words

    def past(self, *, by_time: bool = False) -> Dataset:
        """Return training and validation rows: a user's validation rows after the others, or among them by time."""
        one, other = self.train.interactions, self.valid
        users = np.concatenate([one.users, other.users])
        times = np.concatenate([one.times, other.times])
        rows = np.lexsort((times, users)) if by_time else np.argsort(users, kind="stable")
        strengths = None
        if one.strengths is not None and other.strengths is not None:
            strengths = np.concatenate([one.strengths, other.strengths])
        items, ratings = np.concatenate([one.items, other.items]), np.concatenate([one.ratings, other.ratings])
        return self.train.only(Interactions(users, items, ratings, times, strengths)[rows])


def leave_one_out(dataset: Dataset) -> Split:
    """Hold out each user's last item for the test and the one before for validation.

    Users with fewer than three interactions keep all of them for training.
    """
    log = dataset.interactions
    from_end = dataset.starts[log.users + 1] - 1 - np.arange(len(log))
    counts = np.diff(dataset.starts)[log.users]
    words = np.full(len(log), "train", dtype=object)
    words[(from_end == 0) & (counts >= 3)] = "test"
    words[(from_end == 1) & (counts >= 3)] = "valid"
    return _cut(dataset, words, "leave one out: each user's last item is the test, the one before validation")


def by_time(dataset: Dataset, test: float = 0.1, valid: float = 0.1) -> Split:
    """Hold out all that came after one moment, the same for everybody.

    `test` and `valid` are shares of the interactions.
    """
    if not (0 < test < 1 and 0 <= valid < 1 and test + valid < 1):
        raise DataError(f"split by time: shares test={test} and valid={valid} must leave something to train on")
    log = dataset.interactions
    missing = int((log.times == NO_TIME).sum())
    if missing or not len(log):
        raise DataError(
            f"{dataset.name}: {missing} of {len(log)} interactions have no time, so they cannot be split by time;"
            " split: leave-one-out goes by order alone"
        )
    to_valid, to_test = np.quantile(log.times, [1 - test - valid, 1 - test], method="higher")
    words = np.full(len(log), "train", dtype=object)
    words[log.times >= to_valid] = "valid"
    words[log.times >= to_test] = "test"
    return _cut(dataset, words, f"by time: test from second {to_test}, validation from second {to_valid}")


def as_published(dataset: Dataset, column: str = "split") -> Split:
    """Cut as the publisher of the data did."""
    if column not in dataset.published:
        known = ", ".join(sorted(dataset.published)) or "none"
        raise DataError(f"{dataset.name}: no published split '{column}'; there are: {known}")
    return _cut(dataset, dataset.published[column], f"as published, column '{column}'")


def _cut(dataset: Dataset, words: WordArray, protocol: str) -> Split:
    log = dataset.interactions
    train = log[words == "train"]
    if not len(train):
        raise DataError(f"{dataset.name}: nothing left to train on when split {protocol}")
    return Split(dataset.only(train), log[words == "valid"], log[words == "test"], protocol)
