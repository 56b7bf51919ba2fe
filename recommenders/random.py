"""Pages drawn at random: what every policy must beat."""

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import key, mix, uniform
from simenv.context import Context
from simenv.dataset import Dataset

RANDOM_KEY = key(0, "random policy")


class Random:
    """Shows each user the whole catalogue in an order of his own, drawn by the run's seed."""

    def fit(self, dataset: Dataset) -> None:
        """Learn nothing but the catalogue's size."""
        self.items = np.arange(len(dataset.catalog))

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return the next `k` items of each user's own order."""
        bits = mix(mix(RANDOM_KEY, context.luck)[:, None], self.items)
        return context.top(uniform(bits), k)

    def propensities(self, context: Context, items: IntArray) -> FloatArray:
        """Return one over the number of items that were still to be shown."""
        left = np.isfinite(context.mask(np.zeros((len(context), len(self.items))))).sum(axis=1)
        return np.broadcast_to(1 / np.maximum(left, 1)[:, None], items.shape)
