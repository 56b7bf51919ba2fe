"""Intervals over users of any figure that follows from weights of the users."""

import math
from collections.abc import Callable

import numpy as np

from simenv.arrays import BoolArray, FloatArray, IntArray
from simenv.intervals import LEVEL, Interval, resamples

DRAWS = 400
OfWeights = Callable[[FloatArray], FloatArray]  # weights of the users [D, U] to a figure for each draw [D]


def spread(figure: OfWeights, count: int, *, seed: int = 0, draws: int = DRAWS) -> Interval:
    """Return a figure and the middle part of its values for users drawn anew."""
    estimate = float(figure(np.ones((1, count)))[0]) if count else math.nan
    if count < 2:
        return Interval(estimate, math.nan, math.nan, count)
    drawn = np.concatenate([figure(weights) for weights in resamples(count, seed, draws)])
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return Interval(estimate, math.nan, math.nan, count)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate, float(low), float(high), count)


def share(part: FloatArray, whole: FloatArray) -> OfWeights:
    """Return the figure that is the sum of one value of the users over that of another: [U] each."""
    return lambda weights: _over(weights @ part, weights @ whole)


def mean(values: FloatArray) -> OfWeights:
    """Return the figure that is the mean of a value of the users [U]; NaN counts for nobody."""
    known = np.isfinite(values)
    return share(np.where(known, values, 0.0), known.astype(float))


def auc(scores: FloatArray, is_positive: BoolArray, users: IntArray) -> OfWeights:
    """Return the figure that is the chance of a wanted item to stand before one of all others; halves for ties.

    Each score [N] belongs to a user, counted from 0.
    """
    _, level = np.unique(scores, return_inverse=True)
    levels = int(level.max(initial=-1)) + 1

    def area(weights: FloatArray) -> FloatArray:
        found = []
        for weight in weights:
            mass = weight[users]
            good = np.bincount(level[is_positive], mass[is_positive], levels)
            bad = np.bincount(level[~is_positive], mass[~is_positive], levels)
            below = np.cumsum(bad) - bad / 2
            found.append(_over(np.array([good @ below]), np.array([good.sum() * bad.sum()]))[0])
        return np.array(found)

    return area


def auc_per_user(scores: FloatArray, is_positive: BoolArray, users: IntArray, count: int) -> FloatArray:
    """Return the same within each user's own items: [count], NaN for who has not both kinds."""
    found = np.full(count, np.nan)
    order = np.argsort(users, kind="stable")
    starts = np.searchsorted(users[order], np.arange(count + 1))
    for user in range(count):
        mine = order[starts[user] : starts[user + 1]]
        good, bad = scores[mine[is_positive[mine]]], scores[mine[~is_positive[mine]]]
        if len(good) and len(bad):
            gap = good[:, None] - bad[None, :]
            found[user] = ((gap > 0) + 0.5 * (gap == 0)).mean()
    return found


def correlation(one: FloatArray, other: FloatArray, users: IntArray) -> OfWeights:
    """Return the figure that is the correlation of two values of rows [N], each a user's."""

    def found(weights: FloatArray) -> FloatArray:
        mass = weights[:, users]
        total = mass.sum(axis=1)
        x, y = _over(mass @ one, total), _over(mass @ other, total)
        xy, xx, yy = (_over(mass @ part, total) for part in (one * other, one * one, other * other))
        deep = np.sqrt(np.maximum((xx - x * x) * (yy - y * y), 0))
        return np.divide(xy - x * y, deep, out=np.full(len(deep), np.nan), where=deep > 1e-12)

    return found


def _over(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
