"""The best-known items first, the same for everybody."""

import numpy as np

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset

from .recommender import Recommender


class Pop(Recommender):
    """Shows items by their number of training interactions."""

    learnt = ("popularity",)

    def learn(self, dataset: Dataset) -> None:
        """Count each item's interactions."""
        self.popularity = dataset.popularity.astype(np.float32)

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` most popular items that each user has not met."""
        nobody = np.zeros((len(context), 0))  # no vector, so the offsets alone decide
        return context.top_products(nobody, np.zeros((self.item_count, 0)), k, offsets=self.popularity)
