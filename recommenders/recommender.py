"""What all our policies share: a check at the door, and what they learnt as arrays."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.pages import EMPTY
from simenv.store import Arrays

WHISPER = 1e-6  # the weight of fame where it only settles ties


class Recommender(ABC):
    """A policy that says what is wrong, and can be saved: a subclass learns and ranks.

    A user without any history gets the most popular items, unless the policy says otherwise. Where fewer items are
    left than are asked for, the last places stay EMPTY.
    """

    learnt: ClassVar[tuple[str, ...]] = ()  # the attributes that `learn` sets: arrays, dense or sparse
    item_count = 0  # of the catalogue it was fitted to; 0 until then

    def fit(self, dataset: Dataset) -> None:
        """Learn from the past; called once, before the first page."""
        self.learn(dataset)
        self.item_count = len(dataset.catalog)

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return `k` items for each user [B, k], best first, none of them twice; EMPTY where none is left."""
        self._check(context, k)
        return self.rank(context, k)

    @abstractmethod
    def learn(self, dataset: Dataset) -> None:
        """Set all attributes that are named in `learnt`."""

    @abstractmethod
    def rank(self, context: Context, k: int) -> IntArray:
        """Return `k` items for each user; the question has been checked."""

    def state(self) -> Arrays:
        """Return what was learnt, as arrays by name."""
        if not self.item_count:
            raise SimenvError(f"{type(self).__name__} has not been fitted: there is nothing to keep")
        arrays: Arrays = {"item_count": np.array(self.item_count)}
        for name in self.learnt:
            value = getattr(self, name)
            if isinstance(value, sparse.csr_array):
                arrays |= {f"{name}.{part}": getattr(value, part) for part in ("data", "indices", "indptr")}
                arrays[f"{name}.shape"] = np.array(value.shape)
            else:
                arrays[name] = np.asarray(value)
        return arrays

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        for name in self.learnt:
            if name in arrays:
                setattr(self, name, arrays[name])
            else:
                parts = tuple(arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr"))
                setattr(self, name, sparse.csr_array(parts, shape=tuple(arrays[f"{name}.shape"].tolist())))
        self.item_count = int(arrays["item_count"])

    def _check(self, context: Context, k: int) -> None:
        who = type(self).__name__
        users, items = len(context.train.users), len(context.train.catalog)
        if not self.item_count:
            raise SimenvError(f"{who} has not been fitted: call fit(dataset) first, or load one that was saved")
        if items != self.item_count:
            raise SimenvError(f"{who} was fitted to {self.item_count} items and is asked about {items}; fit it again")
        if not isinstance(k, int | np.integer) or k < 1:
            raise SimenvError(f"{who}: k is {k!r}; it must be a whole number, at least 1")
        if len(context) and (context.users.min() < 0 or context.users.max() >= users):
            wrong = next(user for user in context.users.tolist() if not 0 <= user < users)
            raise SimenvError(f"{who}: no user {wrong}; users run from 0 to {users - 1}")
        for told in (context.shown, context.candidates):
            if told is not None and told.size and (told.min() < EMPTY or told.max() >= items):
                wrong = next(item for item in told.reshape(-1).tolist() if not EMPTY <= item < items)
                raise SimenvError(f"{who}: no item {wrong}; items run from 0 to {items - 1}")


def fame_of(dataset: Dataset) -> FloatArray:
    """Return each item's popularity [I], as a whisper: it settles ties, and outweighs differences below a millionth."""
    return WHISPER * dataset.popularity.astype(np.float32) / max(1, int(dataset.popularity.max(initial=0)))


def seen_matrix(dataset: Dataset) -> sparse.csr_array:
    """Return who met what: 1 for each pair of user and item [U, I], however often they met."""
    log = dataset.interactions
    size = (len(dataset.users), len(dataset.catalog))
    seen = sparse.csr_array((np.ones(len(log), np.float32), (log.users, log.items)), shape=size)
    seen.sum_duplicates()
    seen.data[:] = 1
    return seen
