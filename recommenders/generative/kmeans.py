"""Clusters: points that lie near each other share a centre, and no centre stays without points."""

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray

TOGETHER = 2048  # points whose distances are taken at once
ROUNDS = 25
CALM = 1e-3  # of the points may still move when we stop


def kmeans(points: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Return the centres of `count` clusters of points [N, D]: [count, D]; some of no use if fewer points differ."""
    centres = spread_out(points, count, rng)
    before = np.full(len(points), -1)
    for _ in range(ROUNDS):
        codes, far = nearest(points, centres)
        if (codes != before).sum() <= CALM * len(points):
            break
        before = codes
        centres = means(points, codes, centres)
        revive(centres, points, codes, far)
    return centres


def spread_out(points: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Return points to begin with (greedy k-means++).

    A few are drawn at a time by their squared distance from those before, and the one that helps most is taken.
    """
    tries = 2 + int(np.log(count))
    centres = np.repeat(points[:1], count, axis=0)
    squares = (points**2).sum(axis=1)
    floor = 1e-6 * max(float(squares.max()), 1e-12)  # less is a point itself, but for rounding
    far = np.full(len(points), 1.0)
    for place in range(count):
        reach = np.cumsum(far)
        if reach[-1] <= 0:
            break  # every point is a centre already
        drawn = np.searchsorted(reach, rng.random(tries if place else 1) * reach[-1], side="right")
        drawn = np.minimum(drawn, len(points) - 1)
        apart = squares[:, None] - 2 * (points @ points[drawn].T) + squares[drawn]
        apart[apart < floor] = 0
        left = apart if place == 0 else np.minimum(far[:, None], apart)
        best = int(left.sum(axis=0).argmin())
        centres[place], far = points[drawn[best]], left[:, best].astype(np.float64)
    return centres


def nearest(points: FloatArray, centres: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return the number of each point's nearest centre [N], the lower of two, and its squared distance [N]."""
    codes, far = np.empty(len(points), dtype=np.int64), np.empty(len(points), dtype=points.dtype)
    halves = (centres**2).sum(axis=1) / 2
    for first in range(0, len(points), TOGETHER):
        some = slice(first, first + TOGETHER)
        near = points[some] @ centres.T
        near -= halves  # the squared distance is the point's own square less twice this
        codes[some] = near.argmax(axis=1)
        far[some] = np.maximum((points[some] ** 2).sum(axis=1) - 2 * near.max(axis=1), 0)
    return codes, far


def distances(points: FloatArray, centres: FloatArray) -> FloatArray:
    """Return the squared distance of each point to each centre [N, K]."""
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    apart: FloatArray = np.maximum(squares - 2 * (points @ centres.T), 0)
    return apart


def means(points: FloatArray, codes: IntArray, centres: FloatArray) -> FloatArray:
    """Return the mean of each code's points; a code without any keeps its centre."""
    count = len(centres)
    owners = sparse.csr_array(
        (np.ones(len(points), dtype=points.dtype), (codes, np.arange(len(points)))), shape=(count, len(points))
    )
    sizes = np.bincount(codes, minlength=count)[:, None]
    return np.where(sizes > 0, (owners @ points) / np.maximum(sizes, 1), centres).astype(points.dtype)


def revive(centres: FloatArray, points: FloatArray, codes: IntArray, far: FloatArray) -> int:
    """Move each centre without points to one of the points that lie farthest from theirs; return how many moved."""
    dead = np.flatnonzero(np.bincount(codes, minlength=len(centres)) == 0)
    lost = np.argsort(-far, kind="stable")[: len(dead)]
    lost = lost[far[lost] > 1e-6 * max(float((points**2).sum(axis=1).max()), 1e-12)]
    centres[dead[: len(lost)]] = points[lost]
    return len(lost)
