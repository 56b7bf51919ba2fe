"""Pages drawn at random: what every policy must beat."""

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import key, mix, uniform
from simenv.context import Context
from simenv.dataset import Dataset

from .recommender import Recommender

RANDOM_KEY = key(0, "random policy")


class Random(Recommender):
    """Shows each user the whole catalogue in an order of his own, drawn by the run's seed."""

    def learn(self, dataset: Dataset) -> None:
        """Learn nothing but the catalogue's size."""

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the next `k` items of each user's own order."""
        bits = mix(mix(RANDOM_KEY, context.luck)[:, None], np.arange(self.item_count))
        return context.top(uniform(bits), k)

    def propensities(self, context: Context, items: IntArray) -> FloatArray:
        """Return one over the number of items that were still to be shown."""
        left = np.isfinite(context.mask(np.zeros((len(context), self.item_count)))).sum(axis=1)
        return np.broadcast_to(1 / np.maximum(left, 1)[:, None], items.shape)
