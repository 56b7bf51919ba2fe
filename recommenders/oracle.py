"""Bounds: the best and the worst that can be shown where the truth is known."""

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.truth import Truth

from .recommender import Recommender


class Oracle(Recommender):
    """Shows what each user is likeliest to like; no contestant, since it knows the truth."""

    sign = 1.0

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def learn(self, dataset: Dataset) -> None:
        """Learn nothing; all is known."""

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items most likely to be liked."""
        return context.top(self.sign * self.truth.likes(context.users), k)


class AntiOracle(Oracle):
    """Shows what each user is least likely to like."""

    sign = -1.0
