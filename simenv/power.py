"""How small a difference between policies a run can see, and how many users and seeds would see a smaller one.

Differences are those of the same users under two policies. Their mean varies with who was drawn, and with each user's
luck, which more seeds average away. They are tested by flipping signs: the signs of n users can be flipped in 2^n ways,
so the p-value is 2 / 2^n at least, and too few users can show nothing, however large the difference.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

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
    if users < fewest_users(comparisons, level=level):
        return math.nan
    return _reach(users, comparisons, level, power) * math.sqrt(variance / users)


def fewest_users(comparisons: int = 1, *, level: float = LEVEL, differing: float = 1.0) -> int:
    """Return how many users a sign-flip test takes before its p-value can reach the level shared by comparisons.

    `differing` is the share of the users whose difference is not zero: the signs of the others flip nothing.
    """
    if not 0 < level < 1:
        raise SimenvError(f"level {level:g} is a chance; it lies between 0 and 1")
    signs = math.floor(1 + math.log2(max(comparisons, 1) / level)) + 1
    return math.ceil(signs / differing) if differing > 0 else 0


def users_needed(
    variance: float,
    difference: float,
    *,
    comparisons: int = 1,
    level: float = LEVEL,
    power: float = POWER,
    differing: float = 1.0,
) -> int:
    """Return how many users show this mean difference with this power; as many at least as its test can tell of."""
    if not difference > 0:
        raise SimenvError(f"a difference of {difference:g} cannot be planned for; give the least that matters, above 0")
    users = fewest_users(comparisons, level=level, differing=differing)
    while (
        True
    ):  # the fewer the users, the farther Student's quantiles reach: it rises to the first number that is enough
        enough = math.ceil(variance * (_reach(users, comparisons, level, power) / difference) ** 2)
        if enough <= users:
            return users
        users = max(users + 1, (users + enough) // 2)


def _reach(users: int, comparisons: int, level: float, power: float) -> float:
    """Return how many standard errors from nothing a difference must lie; the first of Holm's steps, so the hardest."""
    if not (0 < level < 1 and 0 < power < 1):
        raise SimenvError(f"level {level:g} and power {power:g} are chances; both lie between 0 and 1")
    free = users - 1
    return float(stdtrit(free, 1 - level / 2 / max(comparisons, 1)) + stdtrit(free, power))
