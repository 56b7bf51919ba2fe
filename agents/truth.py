"""The users of a made world, as they really are."""

from typing import ClassVar

import numpy as np
from scipy.special import logsumexp

from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.judgement import Judgement
from simenv.pages import Grade
from simenv.truth import Truth

from .browsing import Browsing, Habits, Minds, fitted, habits_of, usual_worth


class TruthPopulation:
    """Browses by the tastes that made the world's log."""

    options_type: ClassVar[type] = Habits

    def __init__(self, truth: Truth, **habits: float) -> None:
        self.truth = truth
        self.habits = habits_of(habits)
        self.minds: Minds | None = None

    def fit(self, dataset: Dataset) -> None:
        """Take up the truth; nothing is learnt."""
        truth = self.truth
        ones = np.ones((len(truth.traits), 1), dtype=np.float32)
        items = np.hstack([truth.traits, truth.appeal[:, None], truth.quality[:, None], ones])
        user_ones = np.ones((len(truth.tastes), 1), dtype=np.float32)
        view = np.hstack([truth.tastes, user_ones, 0 * user_ones, truth.draw * user_ones])
        spreads = truth.spreads[:, None]
        rate = np.hstack([0.6 * spreads * truth.tastes, 0 * spreads, spreads, truth.means[:, None]])
        boring = np.zeros(items.shape[1])
        boring[: truth.traits.shape[1]] = 1 / (truth.traits**2).sum(axis=1).mean()
        self.minds = Minds(
            items=items.astype(np.float32),
            view=view.astype(np.float32),
            merits=items.astype(np.float32),
            rate=rate.astype(np.float32),
            boring=boring.astype(np.float32),
            noise=(truth.spreads * truth.noise).astype(np.float32),
            cuts=np.array([1.5, 2.5, 3.5, 4.5], dtype=np.float32),
            levels=np.array([1, 2, 3, 4, 5], dtype=np.float32),
            grades=np.array([Grade.DISLIKED, Grade.DISLIKED, Grade.VIEWED, Grade.LIKED, Grade.LIKED], dtype=np.int8),
            usual=usual_worth(items, view, dataset.popularity, stream(0, "usual")),
            patience=truth.patience,
            # The log was drawn by twice the appeal, once of which is that an item is met at all.
            meeting=truth.appeal,
            bar=_level(truth) - np.float32(truth.draw),
            habits=self.habits,
        )

    def enter(self, users: IntArray, luck: BitArray) -> Browsing:
        """Seat these users in this order."""
        return Browsing(fitted(self.minds, self), users, luck)

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him."""
        return fitted(self.minds, self).judge(users, items, luck)


def _level(truth: Truth) -> FloatArray:
    """Return what makes each user's chances to choose one of all items sum to 1, beside a blind draw's [U]."""
    blocks = np.array_split(np.arange(len(truth.tastes)), len(truth.tastes) // 1024 + 1)
    sums = [logsumexp(2 * truth.appeal + truth.relevance(users), axis=1) for users in blocks]
    return np.asarray(np.log(len(truth.appeal)) - np.concatenate(sums), dtype=np.float32)
