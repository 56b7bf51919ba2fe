"""How often intervals hold what they should: a simulation study of the figures that every run prints.

Users' likes, shares and session lengths are drawn as skewed and as tied as simulated ones are; the truth is known. An
interval of 95 % should hold it 95 times in 100.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np

from simenv.arrays import FloatArray
from simenv.chance import stream
from simenv.intervals import benjamini_hochberg, differences, holm, means
from simenv.power import noise, users_needed

from .record import Row, row, write

USERS = (20, 50, 200, 1000)
GOAL, LEVEL = 0.93, 0.05
Draw = Callable[[np.random.Generator, int], FloatArray]


def main() -> None:
    """Draw, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000, help="samples for each figure")
    times = parser.parse_args().times
    rows: list[Row] = []
    for users in USERS:
        for name, draw in FIGURES.items():
            truth = float(draw(stream(1, "truth", name), 2_000_000).mean())
            hits = covered(draw, truth, users, times if users < 500 else times // 4)
            rows.append(share(f"coverage, mean of {name}, {users:,} users", hits, goal=GOAL))
        hits = np.array([_difference(seed, users) for seed in range(times if users < 500 else times // 4)])
        rows.append(share(f"coverage, paired difference of likes, {users:,} users", hits, goal=GOAL))
    for name, corrected in (("Holm", holm), ("Benjamini-Hochberg", benjamini_hochberg)):
        alarms = np.array([_alarm(corrected, seed) for seed in range(times // 4)])
        note = "fifteen comparisons of six policies that are equal; at most 0.05 is promised"
        rows.append(share(f"any false alarm after {name}, 200 users", alarms, note=note))
    seen = np.array([_planned(seed) for seed in range(times // 4)])
    rows.append(share("power of a planned run (0.8 was asked for)", seen, note="from a pilot of 60 users, two seeds"))
    write("stats", "make bench-stats", rows)


def likes(rng: np.random.Generator, count: int) -> FloatArray:
    """Return likes per session: many have none, a few have many."""
    return rng.negative_binomial(0.8, 0.25, size=count).astype(np.float64)


def shares(rng: np.random.Generator, count: int) -> FloatArray:
    """Return shares of what was shown, of which most are small."""
    return rng.binomial(12, rng.beta(0.7, 4.0, size=count)) / 12


def lengths(rng: np.random.Generator, count: int) -> FloatArray:
    """Return session lengths, cut at ten pages."""
    return np.minimum(rng.geometric(0.3, size=count), 10).astype(np.float64)


def satisfaction(rng: np.random.Generator, count: int) -> FloatArray:
    """Return means of ratings from 1 to 10, skewed to the left."""
    return 1 + 9 * rng.beta(5, 2, size=count)


FIGURES: dict[str, Draw] = {"likes": likes, "shares": shares, "pages": lengths, "satisfaction": satisfaction}


def covered(draw: Draw, truth: float, users: int, times: int) -> FloatArray:
    """Return whether each sample's interval holds the truth; samples that cannot differ count as misses."""
    hits = np.empty(times)
    for time in range(times):
        (found,) = means(draw(stream(time, "sample", users), users)[:, None], seed=time)
        hits[time] = found.low <= truth <= found.high
    return hits


def _pairs(rng: np.random.Generator, users: int, shift: float) -> FloatArray:
    """Return differences of one user's likes under two policies: taste is shared, luck is not."""
    taste = rng.gamma(0.8, 3.0, size=users)
    return rng.poisson(taste * (1 + shift)) - rng.poisson(taste).astype(np.float64)


def _difference(seed: int, users: int) -> bool:
    (found,) = means(_pairs(stream(seed, "pairs", users), users, 0.2)[:, None], seed=seed)
    return found.low <= 0.2 * 0.8 * 3.0 <= found.high


def _alarm(corrected: Callable[[list[float]], list[float]], seed: int) -> bool:
    rng = stream(seed, "alarm")
    taste = rng.gamma(0.8, 3.0, size=200)
    policies = rng.poisson(taste, size=(6, 200)).astype(np.float64)
    gaps = np.stack([policies[one] - policies[other] for one in range(6) for other in range(one)], axis=1)
    return min(corrected([one.p for one in differences(gaps, seed=seed)])) < LEVEL


def _planned(seed: int) -> bool:
    """Return whether a run of as many users as a pilot told saw the difference there is."""
    rng = stream(seed, "planned")
    draw = partial(_pairs, rng, shift=0.2)
    users = users_needed(noise(np.stack([draw(60), draw(60)], axis=1)).variance(1), 0.2 * 0.8 * 3.0)
    (found,) = differences(draw(users)[:, None], seed=seed)
    return found.p < LEVEL


def share(figure: str, hits: FloatArray, *, goal: float | None = None, note: str = "") -> Row:
    """Return how often it was so, with a 95 % interval of that share itself."""
    mean = float(hits.mean())
    reach = 1.96 * (max(mean * (1 - mean), 1e-9) / len(hits)) ** 0.5
    found = row(figure, [mean], "share", goal=goal, note=note or f"of {len(hits):,} samples")
    return Row(figure, found.value, round(mean - reach, 4), round(min(mean + reach, 1), 4), goal, "share", found.note)


if __name__ == "__main__":
    main()
