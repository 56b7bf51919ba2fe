"""The best-known items first, the same for everybody."""

import numpy as np

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset


class Pop:
    """Shows items by their number of training interactions."""

    def fit(self, dataset: Dataset) -> None:
        """Count each item's interactions."""
        self.popularity = dataset.popularity.astype(np.float32)

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return the `k` most popular items that each user has not met."""
        return context.top(np.tile(self.popularity, (len(context), 1)), k)
