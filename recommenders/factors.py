"""Policies whose score is a product: a user's vector with an item's."""

from abc import abstractmethod

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError

from .learned import Learned
from .recommender import fame_of


class Factors(Learned):
    """Scores an item by the product of its vector with the user's, which follows the user's history.

    A user's vector is what is his alone plus what the items of his history say of him: their sum over the square
    root of their number. What he liked on the pages before counts at once, without learning anything again.
    """

    learnt = ("own", "said", "table", "offsets")
    own: FloatArray  # [U, D], what is a user's alone
    said: FloatArray  # [I, D], what an item says of those who met it
    table: FloatArray  # [I, D]
    offsets: FloatArray  # [I]

    @abstractmethod
    def fit_parts(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what is a user's alone, what an item says of its users, and the items' vectors."""

    def begin(self, dataset: Dataset) -> None:
        """Note what decides where no vector speaks."""
        self.offsets = fame_of(dataset)

    def ready(self) -> None:
        """Make the vectors that `rank` multiplies."""
        self.own, self.said, self.table = (np.ascontiguousarray(part, np.float32) for part in self.fit_parts())

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
        total, mass = context.sums(self.said)
        total /= np.sqrt(np.maximum(mass, 1e-9))[:, None]
        return total + self.own[context.users]
