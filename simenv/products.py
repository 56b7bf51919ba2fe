"""Matrix products that are the same to the last bit on every machine.

BLAS sums a row in an order that depends on the processor, on the number of threads and on where the row stands among
the others. Here every sum runs over the inner dimension from its first place to its last, one rounded product after
the other: what a processor computes at once are neighbouring columns, never parts of one sum. Nothing is contracted
(a product and its sum stay two roundings, with or without FMA), so a plain loop in NumPy gives the same bits.
"""

import numba
import numpy as np

from .arrays import FloatArray

ROWS = 8  # of the left side, multiplied at once: each value of the right side that is loaded serves them all
NARROW = 256  # columns, fewer than which fill the lanes badly
COLUMNS = 2048  # of the right side, multiplied at once: what is summed up stays in a near cache


def product(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return the product of [M, D] and [D, N]: [M, N], in double precision if either is."""
    kind = np.result_type(left.dtype, right.dtype, np.float32)
    if left.flags.f_contiguous and right.shape[1] < min(NARROW, len(left)):
        # The other way round the same sums fill the processor's lanes.
        return np.ascontiguousarray(product(right.T, left.T).T)
    left, right = (np.ascontiguousarray(side, dtype=kind) for side in (left, right))
    found = np.empty((len(left), right.shape[1]), dtype=kind)
    _product(left, right, found)
    return found


@numba.njit(cache=True)
def _product(left, right, found):  # type: ignore[no-untyped-def]
    whole = len(left) - len(left) % ROWS
    for first in range(0, whole, ROWS):
        multiply_rows(left[first : first + ROWS], right, found[first : first + ROWS])
    if whole < len(left):
        some, rest = np.zeros((ROWS, left.shape[1]), left.dtype), np.empty((ROWS, right.shape[1]), left.dtype)
        some[: len(left) - whole] = left[whole:]
        multiply_rows(some, right, rest)
        found[whole:] = rest[: len(left) - whole]


@numba.njit(cache=True)
def multiply_rows(left, right, found):  # type: ignore[no-untyped-def]
    """Write the product of `ROWS` rows with a matrix into as many rows; for compiled code."""
    found[:] = 0
    add_rows(left, right, found, 0)


@numba.njit(cache=True)
def add_rows(left, right, found, first):  # type: ignore[no-untyped-def]
    """Add the product of `ROWS` rows with a matrix to as many rows, from the `first` column on; for compiled code."""
    size, count = right.shape
    for begin in range(first, count, COLUMNS):
        end = min(begin + COLUMNS, count)
        part = 0
        while part + 4 <= size:
            _add_four(left, part, right, found, begin, end)
            part += 4
        while part < size:
            for row in range(ROWS):
                weight = left[row, part]
                for column in range(begin, end):
                    found[row, column] += weight * right[part, column]
            part += 1


@numba.njit(cache=True)
def _add_four(left, part, right, found, begin, end):  # type: ignore[no-untyped-def]
    """Add to every row what four rows of the right side give, one after the other."""
    one, two, three, four = (
        right[part, begin:end], right[part + 1, begin:end], right[part + 2, begin:end], right[part + 3, begin:end],
    )  # fmt: skip
    weights0, weights1 = _four(left, 0, part), _four(left, 1, part)
    weights2, weights3 = _four(left, 2, part), _four(left, 3, part)
    weights4, weights5 = _four(left, 4, part), _four(left, 5, part)
    weights6, weights7 = _four(left, 6, part), _four(left, 7, part)
    sum0, sum1, sum2, sum3 = found[0, begin:end], found[1, begin:end], found[2, begin:end], found[3, begin:end]
    sum4, sum5, sum6, sum7 = found[4, begin:end], found[5, begin:end], found[6, begin:end], found[7, begin:end]
    for column in range(end - begin):
        values = one[column], two[column], three[column], four[column]
        sum0[column] = _plus(sum0[column], weights0, values)
        sum1[column] = _plus(sum1[column], weights1, values)
        sum2[column] = _plus(sum2[column], weights2, values)
        sum3[column] = _plus(sum3[column], weights3, values)
        sum4[column] = _plus(sum4[column], weights4, values)
        sum5[column] = _plus(sum5[column], weights5, values)
        sum6[column] = _plus(sum6[column], weights6, values)
        sum7[column] = _plus(sum7[column], weights7, values)


@numba.njit(cache=True, inline="always")
def _four(left, row, part):  # type: ignore[no-untyped-def]
    return left[row, part], left[row, part + 1], left[row, part + 2], left[row, part + 3]


@numba.njit(cache=True, inline="always")
def _plus(total, weights, values):  # type: ignore[no-untyped-def]
    total += weights[0] * values[0]
    total += weights[1] * values[1]
    total += weights[2] * values[2]
    total += weights[3] * values[3]
    return total
