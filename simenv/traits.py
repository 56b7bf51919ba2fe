"""How active, how conforming and how varied a user is, by Agent4Rec's formulas (Zhang et al. 2024), from given rows."""

from dataclasses import dataclass

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.dataset import Dataset

ACTIVITY_CUTS = (0.60, 0.90)  # shares of users below the middle and the high level
CONFORMITY_CUTS = (0.25, 0.80)
DIVERSITY_CUTS = (1 / 3, 2 / 3)
COVERED = 0.8  # of a user's interactions, by the categories that count for diversity
LEVELS = ("low", "middle", "high")


@dataclass(frozen=True, eq=False)
class Traits:
    """Each user's traits [U]: the figures, and which of three levels they fall into; NaN and -1 where unknown."""

    activity: FloatArray  # number of interactions
    conformity: FloatArray  # mean squared distance of ratings from the items' means: low follows, high differs
    diversity: FloatArray  # how many categories it takes to cover four fifths of the interactions
    activity_level: IntArray
    conformity_level: IntArray
    diversity_level: IntArray


def traits_of(dataset: Dataset) -> Traits:
    """Return the traits of all users by these rows, and their levels among users with a history."""
    log, users = dataset.interactions, len(dataset.users)
    activity = np.bincount(log.users, minlength=users).astype(float)
    activity[activity == 0] = np.nan
    conformity, diversity = _conformity(dataset), _diversity(dataset)
    return Traits(
        activity,
        conformity,
        diversity,
        levels(activity, ACTIVITY_CUTS),
        levels(conformity, CONFORMITY_CUTS),
        levels(diversity, DIVERSITY_CUTS),
    )


def levels(figures: FloatArray, cuts: tuple[float, float]) -> IntArray:
    """Return 0, 1 or 2 for each figure, by the quantiles among those known; -1 where it is not."""
    known = np.isfinite(figures)
    found = np.full(len(figures), -1, dtype=np.int64)
    if known.any():
        found[known] = np.searchsorted(np.quantile(figures[known], cuts), figures[known], side="left")
    return found


def _conformity(dataset: Dataset) -> FloatArray:
    log, users, items = dataset.interactions, len(dataset.users), len(dataset.catalog)
    rated = np.isfinite(log.ratings)
    who, what, ratings = log.users[rated], log.items[rated], log.ratings[rated].astype(float)
    counts = np.bincount(what, minlength=items)
    means = np.bincount(what, ratings, items) / np.maximum(counts, 1)
    distance = np.bincount(who, (ratings - means[what]) ** 2, users)
    number = np.bincount(who, minlength=users)
    return np.divide(distance, number, out=np.full(users, np.nan), where=number > 0)


def _diversity(dataset: Dataset) -> FloatArray:
    """Count, for each user, the categories in descending share until they cover enough of the interactions."""
    log, matrix = dataset.interactions, dataset.catalog.category_matrix
    found = np.full(len(dataset.users), np.nan)
    if not matrix.shape[1]:
        return found
    rows = matrix.astype(float)
    rows /= np.maximum(rows.sum(axis=1, keepdims=True), 1)
    shares = np.zeros((len(dataset.users), matrix.shape[1]))
    np.add.at(shares, log.users, rows[log.items])
    total = shares.sum(axis=1)
    known = total > 0
    covered = np.cumsum(-np.sort(-shares[known], axis=1), axis=1) / total[known, None]
    found[known] = (covered < COVERED - 1e-9).sum(axis=1) + 1
    return found
