"""From vectors to codes: at each level one code, for what the levels before it left unsaid."""

from dataclasses import dataclass

import numba
import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.errors import SimenvError

from .kmeans import distances, kmeans, means, nearest

SMOOTH = 0.05  # how blurred the balanced plan may be, against half the widest difference of distances
SWAPS = 50
BALANCINGS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """The codes of vectors, and the centres that they stand for; no centres where codes mean nothing."""

    codes: IntArray  # [N, L]
    sizes: tuple[int, ...]  # L of them
    vectors: FloatArray  # [N, D]
    books: tuple[FloatArray, ...] = ()  # L of [K, D]; a vector is about the sum of its codes' centres

    def left(self, level: int) -> FloatArray:
        """Return what the levels before this one leave of the vectors [N, D]."""
        rest = self.vectors.copy()
        for book, codes in zip(self.books[:level], self.codes.T, strict=False):
            rest -= book[codes]
        return rest


def atomic(count: int) -> Quantised:
    """Give each its own code."""
    return Quantised(np.arange(count)[:, None], (count,), np.zeros((count, 0), np.float32))


def random(count: int, levels: int, codes: int, seed: int) -> Quantised:
    """Draw rows of codes, no two alike: what a tokeniser that knows nothing would do."""
    most = codes**levels
    if most < count:
        raise SimenvError(f"{codes} codes at {levels} levels name {most} and there are {count}; more codes or levels")
    rng = stream(seed, "tokenizer", "random")
    drawn = rng.choice(most, size=count, replace=False) if most < 2**62 else rng.choice(2**62, count, replace=False)
    places = codes ** np.arange(levels - 1, -1, -1, dtype=object)
    rows = [[int(number // place % codes) for place in places] for number in drawn.tolist()]
    return Quantised(np.array(rows, dtype=np.int64), (codes,) * levels, np.zeros((count, 0), np.float32))


def residual(vectors: FloatArray, levels: int, codes: int, seed: int) -> Quantised:
    """Cluster the vectors, then what is left of them when their centres are taken away, level by level."""
    return _by_levels(vectors, levels, codes, seed, balance=False)


def balanced(vectors: FloatArray, levels: int, codes: int, seed: int) -> Quantised:
    """Do as `residual`, but no code of a level stands for more than its even share of the vectors, rounded up."""
    return _by_levels(vectors, levels, codes, seed, balance=True)


def _by_levels(vectors: FloatArray, levels: int, codes: int, seed: int, *, balance: bool) -> Quantised:
    rest: FloatArray = vectors.astype(np.float32)
    books, rows = [], []
    for level in range(levels):
        centres = kmeans(rest, codes, stream(seed, "tokenizer", "kmeans", level))
        if balance:
            for _ in range(BALANCINGS):
                mine = even(distances(rest, centres))
                centres = means(rest, mine, centres)
        else:
            mine, _ = nearest(rest, centres)
        rest = less(rest, centres[mine], vectors)
        books.append(centres)
        rows.append(mine)
    return Quantised(np.stack(rows, axis=1), (codes,) * levels, vectors.astype(np.float32), tuple(books))


def less(rest: FloatArray, told: FloatArray, vectors: FloatArray) -> FloatArray:
    """Return what is left of each vector; nothing where no more than rounding is left."""
    left = rest - told
    left[(left**2).sum(axis=1) < 1e-9 * float((vectors**2).sum(axis=1).mean())] = 0
    return left


def even(apart: FloatArray) -> IntArray:
    """Return a near code for each row of distances [N, K], none more often than N / K, rounded up."""
    plan = sinkhorn(apart, SMOOTH)
    best = np.partition(plan, -2, axis=1)[:, -2:] if plan.shape[1] > 1 else np.hstack([0 * plan, plan])
    order = np.argsort(best[:, 0] / np.maximum(best[:, 1], 1e-300), kind="stable")  # who knows best chooses first
    return _filled(plan, order, -(-len(apart) // apart.shape[1]))


def sinkhorn(apart: FloatArray, smooth: float) -> FloatArray:
    """Return how much of each row goes to each code [N, K] if all codes get alike and near ones are preferred.

    Distances are brought to [-1, 1] first; LC-Rec's formula.
    """
    least, most = float(apart.min(initial=0)), float(apart.max(initial=0))
    middle = (least + most) / 2
    plan = np.exp(-((apart.astype(np.float64) - middle) / (most - middle + 1e-5)) / smooth)
    plan /= plan.sum()
    for _ in range(SWAPS):
        plan /= np.maximum(plan.sum(axis=0), 1e-300) * plan.shape[1]
        plan /= np.maximum(plan.sum(axis=1, keepdims=True), 1e-300) * plan.shape[0]
    return plan


@numba.njit(cache=True)
def _filled(plan, order, room):  # type: ignore[no-untyped-def]
    """Let each row, in this order, take the code it has most of among those with room left."""
    codes = np.empty(len(plan), dtype=np.int64)
    taken = np.zeros(plan.shape[1], dtype=np.int64)
    for row in order:
        best = -1
        for code in range(plan.shape[1]):
            if taken[code] < room and (best < 0 or plan[row, code] > plan[row, best]):
                best = code
        codes[row] = best
        taken[best] += 1
    return codes
