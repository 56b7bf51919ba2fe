"""How small a difference between policies a run can see, and how many users and seeds would see a smaller one.

Differences are those of the same users under two policies. Their mean varies with who was drawn, and with each user's
luck, which more seeds average away.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from .arrays import FloatArray
from .errors import SimenvError

LEVEL, POWER = 0.05, 0.8  # chance of a false alarm, and of seeing what is there


@dataclass(frozen=True, slots=True)
class Noise:
    """The variance of users' differences: between users, and between one user's seeds; NaN where one seed hides it."""

    between: float
    within: float

    def variance(self, seeds: int) -> float:
        """Return the variance of a user's mean difference over so many seeds."""
        return self.between + (0.0 if math.isnan(self.within) else self.within / seeds)


def noise(gaps: FloatArray) -> Noise:
    """Return the noise of paired differences [users, seeds]; users who lack a seed count for the seeds they have."""
    known = np.isfinite(gaps)
    counts = known.sum(axis=1)
    there = counts > 0
    if there.sum() < 2:
        raise SimenvError(f"{int(there.sum())} users met both policies; the noise of a difference needs two at least")
    filled, counts = np.where(known, gaps, 0.0)[there], counts[there]
    means = filled.sum(axis=1) / counts
    spread = float(means.var(ddof=1))
    free = int((counts - 1).sum())
    if not free:
        return Noise(spread, math.nan)
    within = float(((np.where(known[there], gaps[there] - means[:, None], 0.0) ** 2).sum()) / free)
    return Noise(max(spread - within * float((1 / counts).mean()), 0.0), within)


def detectable(
    variance: float, users: int, *, comparisons: int = 1, level: float = LEVEL, power: float = POWER
) -> float:
    """Return the least mean difference that so many users show with this power, at a level shared by comparisons."""
    return _reach(comparisons, level, power) * math.sqrt(variance / users) if users else math.nan


def users_needed(
    variance: float, difference: float, *, comparisons: int = 1, level: float = LEVEL, power: float = POWER
) -> int:
    """Return how many users show this mean difference with this power; two at the least."""
    if not difference > 0:
        raise SimenvError(f"a difference of {difference:g} cannot be planned for; give the least that matters, above 0")
    return max(math.ceil(variance * (_reach(comparisons, level, power) / difference) ** 2), 2)


def _reach(comparisons: int, level: float, power: float) -> float:
    """Return how many standard errors from nothing a difference must lie; the first of Holm's steps, so the hardest."""
    if not (0 < level < 1 and 0 < power < 1):
        raise SimenvError(f"level {level:g} and power {power:g} are chances; both lie between 0 and 1")
    return float(ndtri(1 - level / 2 / max(comparisons, 1)) + ndtri(power))
