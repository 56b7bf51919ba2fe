"""Intervals over users, and policies compared in pairs on the same users."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from .arrays import BitArray, FloatArray
from .chance import stream

LEVEL = 0.95
DRAWS = 2000
FLIPS = 9999  # at the least
FLIPS_EACH = 40  # for each of many comparisons, so that the least p-value stays below 0.05 after Holm's correction
LEAST_P = 1 / (1 + FLIPS)  # a p-value no larger may lie lower than so many flips can tell
BLOCK = 500  # draws held at once
STUDENTS = 10  # users from whom on bootstrap-t is taken too
# Least standard error of a resample, as a share of the sample's own. One that misses the odd user has next to none (of
# a column that is otherwise constant, rounding noise), and its t-statistic would set an end in the millions.
LEAST_ERROR = 0.25
UNBOUNDED = (-math.inf, math.inf)
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users and where it would lie for other users of the same kind."""

    mean: float
    low: float
    high: float
    n: int
    p: float = math.nan  # of a paired difference: how often chance alone gives one as large


def means(
    values: FloatArray, *, seed: int = 0, bounds: Sequence[Bounds] | None = None, level: float = LEVEL
) -> list[Interval]:
    """Return the interval of each column's mean [n users, columns], by bootstrap over users.

    Users are resampled, the same ones for every column; NaN counts for no user. Each end is the farther of two:
    percentiles of the resampled means, widened for small n (Hesterberg 2015, "expanded percentile"), and those of
    resampled t-statistics ("bootstrap-t"). The first are short where a few users have most of the sum, the second
    where differences have two long tails. No end lies outside a column's `bounds`, such as 0 and 1 for a share.
    """
    if not len(values):
        return [Interval(math.nan, math.nan, math.nan, 0)] * values.shape[1]
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = np.divide(total, counts, out=np.full(values.shape[1], np.nan), where=counts > 0)
    off = np.where(known, values - mean, 0.0)
    _, (errors,) = _standard(np.ones((1, len(values))), known, off)
    drawn = [_standard(weights, known, off) for weights in resamples(len(values), seed)]
    shifts, spreads = (np.vstack(some) for some in zip(*drawn, strict=True))
    spreads = np.maximum(spreads, LEAST_ERROR * errors)
    scores = np.divide(shifts, spreads, out=np.full_like(shifts, np.nan), where=spreads > 0)
    intervals = [
        _reach(float(mean[one]), shifts[:, one], scores[:, one], float(errors[one]), int(counts[one]), level)
        for one in range(values.shape[1])
    ]
    return intervals if bounds is None else [_within(one, *ends) for one, ends in zip(intervals, bounds, strict=True)]


def _within(interval: Interval, least: float, most: float) -> Interval:
    """Return the interval with its ends inside the bounds of what it measures."""
    low, high = (float(np.clip(end, least, most)) for end in (interval.low, interval.high))
    return Interval(interval.mean, min(low, interval.mean), max(high, interval.mean), interval.n, interval.p)


def _standard(weights: FloatArray, known: BitArray, off: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return, for users drawn so often, by how far each column's mean is off, and that mean's standard error."""
    mass = weights @ known.astype(np.float64)
    shift, square = (
        np.divide(weights @ some, mass, out=np.full(mass.shape, np.nan), where=mass > 0) for some in (off, off**2)
    )
    return shift, np.sqrt(np.maximum(square - shift**2, 0.0) / np.maximum(mass - 1, 1))


def paired(one: FloatArray, other: FloatArray, *, seed: int = 0) -> Interval:
    """Return the mean difference of two values for the same users, its interval and its p-value."""
    return differences((one - other)[:, None], seed=seed)[0]


def differences(
    values: FloatArray, *, seed: int = 0, bounds: Sequence[Bounds] | None = None, level: float = LEVEL
) -> list[Interval]:
    """Return the interval and p-value of each column of paired differences [n users, columns].

    The p-value is that of a sign-flip test: under no difference each user's sign is a coin's.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    size = np.abs(filled.sum(axis=0))
    rng = stream(seed, "sign flips")
    beyond = np.zeros(values.shape[1])
    flips = max(FLIPS, FLIPS_EACH * values.shape[1])
    for begin in range(0, flips, BLOCK):
        rows = min(BLOCK, flips - begin)
        # A sum with signs is twice the sum over heads, less the sum over all.
        heads = np.unpackbits(np.frombuffer(rng.bytes(-(-rows * len(values) // 8)), np.uint8), count=rows * len(values))
        flipped = 2 * (heads.reshape(rows, -1).astype(np.float64) @ filled) - filled.sum(axis=0)
        beyond += (np.abs(flipped) >= size * (1 - 1e-9)).sum(axis=0)
    chances = (1 + beyond) / (1 + flips)
    return [
        Interval(one.mean, one.low, one.high, one.n, float(chance) if one.n else math.nan)
        for one, chance in zip(means(values, seed=seed, bounds=bounds, level=level), chances, strict=True)
    ]


def holm(chances: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down rule; NaN stays out of the count."""
    known = [place for place, chance in enumerate(chances) if not math.isnan(chance)]
    corrected = [math.nan] * len(chances)
    floor = 0.0
    for done, place in enumerate(sorted(known, key=lambda place: chances[place])):
        floor = max(floor, min(1.0, (len(known) - done) * chances[place]))
        corrected[place] = floor
    return corrected


def benjamini_hochberg(chances: Sequence[float]) -> list[float]:
    """Return p-values corrected so that of what is called a difference at most that share is none; NaN stays out."""
    known = [place for place, chance in enumerate(chances) if not math.isnan(chance)]
    corrected = [math.nan] * len(chances)
    ceiling = 1.0
    for left, place in enumerate(sorted(known, key=lambda place: -chances[place])):
        ceiling = min(ceiling, len(known) / (len(known) - left) * chances[place])
        corrected[place] = ceiling
    return corrected


def resamples(count: int, seed: int, draws: int = DRAWS) -> Iterator[FloatArray]:
    """Yield blocks of bootstrap weights [draws, count]: how often each user was drawn."""
    rng = stream(seed, "bootstrap")
    for begin in range(0, draws if count else 0, BLOCK):
        rows = min(BLOCK, draws - begin)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(drawn.reshape(-1), minlength=rows * count).reshape(rows, count)
        yield weights.astype(np.float64)


def around(estimate: float, drawn: FloatArray, n: int, bounds: tuple[float, float]) -> Interval:
    """Return an interval by the spread of resampled values, for figures that resampling shifts.

    A resample holds fewer different users than the sample, so it covers less of a catalogue: its spread
    can be used, its middle cannot.
    """
    if n < 2:
        return Interval(estimate, math.nan, math.nan, n)
    reach = float(stdtrit(n - 1, 0.5 + LEVEL / 2)) * float(drawn.std(ddof=1))
    return Interval(estimate, max(bounds[0], estimate - reach), min(bounds[1], estimate + reach), n)


def _reach(mean: float, shifts: FloatArray, scores: FloatArray, error: float, n: int, level: float) -> Interval:
    """Return the interval whose ends are the farther of the percentiles' and of bootstrap-t's."""
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    tail = float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - level) / 2)))
    low, high = np.quantile(shifts[np.isfinite(shifts)], [tail, 1 - tail])
    known = scores[np.isfinite(scores)]
    if n >= STUDENTS and len(known):  # fewer are too often drawn all alike, when a t-statistic knows no bounds
        least, most = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
        low, high = min(low, -most * error), max(high, -least * error)
    return Interval(mean, mean + min(float(low), 0.0), mean + max(float(high), 0.0), n)
