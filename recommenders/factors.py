"""Policies whose score is a product: a user's vector with an item's."""

from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.store import Arrays

from .learned import Learned
from .moves import moved_vectors
from .recommender import fame_of


class Parts(NamedTuple):
    """What users' vectors and items' are made of."""

    own: FloatArray  # [U, D], what is a user's alone
    said: FloatArray  # [I, D], what an item says of those who met it
    power: FloatArray  # of a history's length that what its items say is divided by; a number
    table: FloatArray  # [I, D], the items' vectors


class Factors(Learned):
    """Scores an item by the product of its vector with the user's, which follows the user's history.

    A user's vector is what is his alone plus what the items of his history say of him: their sum over a power of
    their number. What he liked on the pages before counts at once, without learning anything again.
    """

    learnt = (*Parts._fields, "offsets")
    offsets: FloatArray  # [I]

    @abstractmethod
    def fit_parts(self) -> Parts:
        """Return what vectors are made of, by what was learnt so far."""

    def begin(self, dataset: Dataset) -> None:
        """Note what decides where no vector speaks."""
        self.offsets = fame_of(dataset)

    def ready(self) -> None:
        """Make the vectors that `rank` multiplies."""
        own, said, self.power, table = self.fit_parts()
        self.own, self.said = (np.ascontiguousarray(part, np.float32) for part in (own, said))
        self.table = np.asfortranarray(table, np.float32)

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        super().restore(arrays)
        self.table = np.asfortranarray(self.table)  # as `top_products` takes it without turning it

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items with the greatest product."""
        return context.top_products(self.vectors(context), self.table, k, offsets=self.offsets)

    def vectors(self, context: Context) -> FloatArray:
        """Return each user's vector [B, D]; zero for one without a history."""
        if len(context.train.users) != len(self.own):
            raise SimenvError(
                f"{type(self).__name__} was fitted to {len(self.own)} users and is asked about"
                f" {len(context.train.users)}; fit it again"
            )
        return moved_vectors(context, self.own, self.said, self.power)
