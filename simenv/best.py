"""The best few of many scores, in compiled loops: what every policy's page ends with.

A page must not depend on the batch that its user came in, nor on the machine: products are summed in one order
(`products`). Ties go to the lower item; an item at minus infinity or NaN is never chosen.
"""

import numba
import numpy as np

from .arrays import FloatArray, IntArray
from .pages import EMPTY
from .products import ROWS, multiply_rows

NEVER = np.float32(-np.inf)


def best_of(scores: FloatArray, k: int) -> IntArray:
    """Return the `k` best columns of each row, best first, EMPTY where there are no more: [B, k]."""
    page = np.full((len(scores), k), EMPTY, dtype=np.int32)
    _best_of(np.ascontiguousarray(scores), page)
    return page


def best_products(
    vectors: FloatArray,
    table: FloatArray,
    offsets: FloatArray,
    left_out: tuple[IntArray, IntArray],
    candidates: IntArray | None,
    k: int,
) -> IntArray:
    """Return the `k` items with the greatest product with each vector, best first: [B, k].

    `vectors` is [B, D], `table` [I, D], `offsets` [I] is added to each product. `left_out` tells where each
    user's forbidden items begin [B + 1] and what they are; if there are candidates [B, C], all else is left out.
    A table in Fortran's order is taken as it is; another is turned first.
    """
    page = np.full((len(vectors), k), EMPTY, dtype=np.int32)
    some = np.empty((len(vectors), 0), dtype=np.int32) if candidates is None else candidates
    vectors, offsets = (np.ascontiguousarray(part, dtype=np.float32) for part in (vectors, offsets))
    turned = np.ascontiguousarray(np.asarray(table, dtype=np.float32).T)
    _best_products(vectors, turned, offsets, *left_out, some, candidates is not None, page)
    return page


@numba.njit(cache=True)
def _best_of(scores, page):  # type: ignore[no-untyped-def]
    values = np.empty(page.shape[1], dtype=scores.dtype)
    for row in range(len(scores)):
        for item in range(scores.shape[1]):
            if np.isnan(scores[row, item]):
                scores[row, item] = -np.inf
        best_row(scores[row], page[row], values)


@numba.njit(cache=True)
def best_row(scores, items, values):  # type: ignore[no-untyped-def]
    """Put the places of the best scores into `items`, best first, and the scores into `values`; for compiled code."""
    room, count = len(items), len(scores)
    if room == 0:
        return
    stride = min(64, count // (3 * room))
    size, worst = 0, -np.inf
    if stride < 8:
        size = _push_all(scores, 0, count, items, values, 0)
    else:
        # The best of each stretch first: as many of them as there is room are all reached by as many items, so
        # whatever lies below the worst of these is passed over, and so are nearly all stretches.
        peaks = np.empty(count // stride, dtype=scores.dtype)
        for stretch in range(len(peaks)):
            end = count if stretch == len(peaks) - 1 else (stretch + 1) * stride
            peaks[stretch] = _peak(scores[stretch * stride : end])
        if _push_all(peaks, 0, len(peaks), items, values, 0) == room:
            worst = values[0]
        for stretch in range(len(peaks)):
            if peaks[stretch] >= worst:
                end = count if stretch == len(peaks) - 1 else (stretch + 1) * stride
                size = _push_all(scores, stretch * stride, end, items, values, size)
    for end in range(size - 1, 0, -1):  # the worst goes last
        _swap(values, items, 0, end)
        _sink(values, items, 0, end)
    items[size:] = EMPTY


@numba.njit(cache=True)
def _push_all(scores, begin, end, items, values, size):  # type: ignore[no-untyped-def]
    """Take the best of a stretch of scores into a heap whose root is its worst; return the heap's size."""
    room = len(items)
    item = begin
    while item < end and size < room:
        if scores[item] > -np.inf:
            values[size], items[size] = scores[item], item
            place = size
            size += 1
            while place > 0 and _worse(values, items, place, (place - 1) >> 1):
                _swap(values, items, place, (place - 1) >> 1)
                place = (place - 1) >> 1
        item += 1
    if size == room:
        for later in range(item, end):
            if scores[later] > values[0]:
                values[0], items[0] = scores[later], later
                _sink(values, items, 0, size)
    return size


@numba.njit(cache=True, fastmath={"nnan", "nsz", "reassoc"})
def _peak(scores):  # type: ignore[no-untyped-def]
    peak = scores[0]
    for score in scores:
        peak = score if score > peak else peak
    return peak


@numba.njit(cache=True, inline="always")
def _worse(values, items, one, other):  # type: ignore[no-untyped-def]
    return values[one] < values[other] or (values[one] == values[other] and items[one] > items[other])


@numba.njit(cache=True, inline="always")
def _swap(values, items, one, other):  # type: ignore[no-untyped-def]
    values[one], values[other] = values[other], values[one]
    items[one], items[other] = items[other], items[one]


@numba.njit(cache=True)
def _sink(values, items, place, size):  # type: ignore[no-untyped-def]
    while True:
        child = 2 * place + 1
        if child >= size:
            return
        if child + 1 < size and _worse(values, items, child + 1, child):
            child += 1
        if not _worse(values, items, child, place):
            return
        _swap(values, items, child, place)
        place = child


@numba.njit(cache=True)
def _best_products(vectors, turned, offsets, starts, left_out, candidates, some, page):  # type: ignore[no-untyped-def]
    """Fill each page with the best products that are not left out."""
    few = np.zeros((ROWS, vectors.shape[1]), dtype=np.float32)
    scores = np.empty((ROWS, len(offsets)), dtype=np.float32)
    values = np.empty(page.shape[1], dtype=np.float32)
    for first in range(0, len(page), ROWS):
        here = min(ROWS, len(page) - first)
        few[:here] = vectors[first : first + here]
        multiply_rows(few, turned, scores)
        for row in range(first, first + here):
            mine = scores[row - first]
            for item in range(len(mine)):
                score = mine[item] + offsets[item]
                mine[item] = score if score == score else NEVER  # what is no number would hide its neighbours
            for entry in range(starts[row], starts[row + 1]):
                mine[left_out[entry]] = -np.inf
            if some:
                _only(mine, candidates[row])
            best_row(mine, page[row], values)


@numba.njit(cache=True)
def _only(scores, items):  # type: ignore[no-untyped-def]
    """Set all scores but those of these items to minus infinity."""
    kept = np.empty(len(items), dtype=scores.dtype)
    for place, item in enumerate(items):
        kept[place] = scores[item] if item != EMPTY else -np.inf
    scores[:] = -np.inf
    for place, item in enumerate(items):
        if item != EMPTY:
            scores[item] = kept[place]
