"""A statistical user fitted to a log: he chooses by company, content and order, and rates on his own scale.

What he chooses next is learnt in `choosing`, how high he rates it in `rating`; here the one is calibrated and both
are folded into the vectors that `browsing` multiplies. A choice is foretold among all items he never met. On a page
he has met them already, and famous items are met more often than others: that much of a choice is taken off there.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import ClassVar

import numpy as np

from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.errors import DataError
from simenv.judgement import Judgement
from simenv.pages import Grade
from simenv.store import Arrays
from simenv.training import Epoch, Training

from .browsing import Browsing, Habits, Minds, fitted, habits_of, usual_worth
from .calibration import asked_last, logistic, meeting_of, patience_of
from .choosing import Leanings, learn_leanings
from .rating import LOGISTIC, Ratings, learn_ratings, level_users


class ChoicePopulation:
    """Browses by tastes, a rating scale and patience that were learnt from training rows."""

    options_type: ClassVar[type] = Habits

    def __init__(self, *, seed: int = 0, **habits: float) -> None:
        self.seed = seed
        self.habits = habits_of(habits)
        self.minds: Minds | None = None
        self.level_users: IntArray = np.zeros(0, dtype=np.int64)

    def fit(self, dataset: Dataset) -> None:
        """Learn from four fifths of each history, how much that tells from the rest; then from all."""
        self.train(dataset, Training())

    def train(self, dataset: Dataset, training: Training) -> None:
        """Learn as `fit` does, and be watched: each round of what users choose next is an epoch."""
        log = dataset.interactions
        if len(log) < 10:
            raise DataError(f"{dataset.name}: {len(log)} training rows are too few to fit the users to; 10 at least")
        if min(len(dataset.users), len(dataset.catalog)) < 2:
            raise DataError(f"{dataset.name}: to fit the users takes at least two of them, and two items")
        self.minds = learn_minds(dataset, self.seed, self.habits, training.watch)
        self.level_users = level_users(dataset, self.seed)

    def state(self) -> Arrays:
        """Return all that was learnt."""
        minds = fitted(self.minds, self)
        learnt = {field.name: getattr(minds, field.name) for field in fields(minds) if field.name != "habits"}
        return learnt | {"level_users": self.level_users}

    def restore(self, arrays: Arrays) -> None:
        """Be as the population was whose state this is."""
        self.level_users = arrays["level_users"]
        self.minds = Minds(**{name: one for name, one in arrays.items() if name != "level_users"}, habits=self.habits)

    def enter(self, users: IntArray, luck: BitArray) -> Browsing:
        """Seat these users in this order."""
        return Browsing(fitted(self.minds, self), users, luck)

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him.

        `wanted` is calibrated to as many choices as items drawn from those never met: 1/2 parts them best.
        """
        return fitted(self.minds, self).judge(users, items, luck)


def learn_minds(dataset: Dataset, seed: int, habits: Habits, watch: Callable[[Epoch], None] = lambda _: None) -> Minds:
    """Learn from four fifths of each history, how much that tells from the rest; then from all."""
    early, leanings = learn_leanings(dataset, seed, watch)
    weights = _calibrated(dataset, early, stream(seed, "choice"))
    met = meeting_of(dataset)
    items = np.hstack([leanings.items, (weights[1] * leanings.base - met)[:, None], np.ones((len(met), 1))])
    level = weights[2] * leanings.level + weights[3]
    view = np.hstack([weights[0] * leanings.users, np.ones((len(level), 1)), level[:, None]])
    items, view, met = items.astype(np.float32), view.astype(np.float32), met.astype(np.float32)
    boring = np.full(items.shape[1], 1 / max(float((leanings.items**2).sum(axis=1).mean()), 1e-9))
    boring[-2:] = 0  # tastes can bore, fame cannot
    rating = _rating(dataset, items, view, seed)
    return Minds(
        items=items,
        view=view,
        merits=rating.items.astype(np.float32),
        rate=rating.users.astype(np.float32),
        noise=rating.scatter.astype(np.float32),
        cuts=rating.cuts.astype(np.float32),
        levels=rating.levels.astype(np.float32),
        grades=rating.grades,
        boring=boring.astype(np.float32),
        usual=usual_worth(items, view, dataset.popularity, stream(seed, "usual")),
        patience=patience_of(dataset),
        meeting=met,
        bar=np.zeros(len(level), dtype=np.float32),
        habits=habits,
    )


def _calibrated(dataset: Dataset, early: Leanings, rng: np.random.Generator) -> FloatArray:
    """Return by how much vectors, base and level tell the last fifth's choices from items never met, and a constant."""
    users, items, chosen, worth = asked_last(dataset, rng)
    found = logistic(_parts(early, users, items), chosen, worth, ridge=1.0)
    return np.append(np.maximum(found[:3], 0), found[3])


def _parts(leanings: Leanings, users: IntArray, items: IntArray) -> FloatArray:
    own = np.einsum("nd,nd->n", leanings.users[users], leanings.items[items])
    return np.stack([own, leanings.base[items], leanings.level[users]], axis=1)


def _rating(dataset: Dataset, items: FloatArray, view: FloatArray, seed: int) -> Ratings:
    """Return how users rate."""
    log = dataset.interactions
    if np.isfinite(log.ratings).any():
        return learn_ratings(dataset, seed)
    # No ratings: a chosen item is liked as surely as the middle of the chosen ones is chosen.
    rate = view.copy()
    rate[:, -1] -= np.median(np.einsum("nd,nd->n", view[log.users], items[log.items]))
    grades = np.array([Grade.VIEWED, Grade.LIKED], dtype=np.int8)
    return Ratings(rate, items, np.full(len(view), 1 / LOGISTIC), np.zeros(1), np.full(2, np.nan), grades)
