"""Linear algebra whose results are the same to the last bit on every machine: what LAPACK would do in its own order.

For matrices of up to some hundred columns, in double precision. Every sum runs in one order (see `products`).
"""

from dataclasses import dataclass

import numba
import numpy as np
from scipy import sparse

from .arrays import FloatArray
from .products import product

LEAST_BLOCK = 16  # columns of a block in a search for directions
MOST_SWEEPS = 60  # of Jacobi's rotations; some ten are enough
TINY = 1e-15  # of a matrix's size: nothing, in double precision


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Leading singular values with their vectors, largest first."""

    left: FloatArray  # [M, R]
    values: FloatArray  # [R]
    right: FloatArray  # [N, R]; of each column the entry that is greatest in size is positive


def solve(square: FloatArray, sides: FloatArray) -> FloatArray:
    """Return X [D, N] of `square` X = `sides`, for a symmetric positive definite matrix [D, D]."""
    factor, found = np.array(square, dtype=np.float64, order="C"), np.array(sides, dtype=np.float64, order="C")
    _factor(factor)
    _substitute(factor, found.reshape(len(factor), -1))
    return found


def solve_each(squares: FloatArray, sides: FloatArray) -> FloatArray:
    """Return x [B, D] of each of many systems: symmetric positive definite matrices [B, D, D] and sides [B, D]."""
    found = np.array(sides, dtype=np.float64, order="C")
    _solve_each(np.array(squares, dtype=np.float64, order="C"), found)
    return found


def eigen(square: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the eigenvalues [D] of a symmetric matrix, smallest first, and their vectors as columns [D, D]."""
    rotated = np.array(square, dtype=np.float64, order="C")
    turns = np.eye(len(rotated))
    _diagonalize(rotated, turns)
    values = np.diag(rotated)
    order = np.argsort(values, kind="stable")
    return values[order], np.ascontiguousarray(turns[order].T)


def orthonormal(columns: FloatArray) -> FloatArray:
    """Return orthonormal columns [M, N] that span what these do; zero where one adds nothing to those before."""
    rows = np.array(columns.T, dtype=np.float64, order="C")
    _orthonormalize(rows)
    return np.ascontiguousarray(rows.T)


def leading(matrix: sparse.csr_array, rank: int, *, rounds: int) -> Spectrum:
    """Return the `rank` leading singular values and vectors of a sparse matrix [M, N], or all if there are fewer.

    By block Krylov iteration from drawn directions (Musco 2015): the more rounds, the more exact.
    """
    rows, columns = matrix.shape
    turned = sparse.csr_array(matrix.T)
    block = np.random.default_rng(0).normal(size=(columns, min(max(rank // 2, LEAST_BLOCK), columns)))
    blocks = [orthonormal(block)]
    for _ in range(rounds):
        blocks.append(orthonormal(turned @ (matrix @ blocks[-1])))
    basis = orthonormal(np.hstack(blocks))
    basis = basis[:, basis.any(axis=0)]
    image = np.asarray(matrix @ basis, dtype=np.float64)  # [M, W]
    squares, turns = eigen(product(image.T, image))
    values = np.sqrt(np.maximum(squares[::-1][:rank], 0))
    right = product(basis, turns[:, ::-1][:, :rank])
    right *= np.where(right[np.abs(right).argmax(axis=0), np.arange(right.shape[1])] < 0, -1.0, 1.0)
    left = np.divide(matrix @ right, values, out=np.zeros((rows, len(values))), where=values > 1e-9 * values.max())
    return Spectrum(left, values, right)


@numba.njit(cache=True)
def _factor(square):  # type: ignore[no-untyped-def]
    """Put the upper Cholesky factor into the upper half."""
    size = len(square)
    for row in range(size):
        square[row, row:] /= np.sqrt(square[row, row])
        for below in range(row + 1, size):
            factor = square[row, below]
            for column in range(below, size):
                square[below, column] -= factor * square[row, column]


@numba.njit(cache=True)
def _substitute(factor, sides):  # type: ignore[no-untyped-def]
    """Solve in place for the sides [D, N], by the upper Cholesky factor."""
    size = len(factor)
    for row in range(size):
        sides[row] /= factor[row, row]
        for below in range(row + 1, size):
            for column in range(sides.shape[1]):
                sides[below, column] -= factor[row, below] * sides[row, column]
    for row in range(size - 1, -1, -1):
        sides[row] /= factor[row, row]
        for above in range(row):
            for column in range(sides.shape[1]):
                sides[above, column] -= factor[above, row] * sides[row, column]


@numba.njit(cache=True)
def _solve_each(squares, sides):  # type: ignore[no-untyped-def]
    for place in range(len(squares)):
        _factor(squares[place])
        _substitute(squares[place], sides[place].reshape(-1, 1))


@numba.njit(cache=True)
def _diagonalize(square, turns):  # type: ignore[no-untyped-def]
    """Turn the matrix by Jacobi's rotations until nothing is left beside its diagonal; rows of `turns` turn along."""
    size = len(square)
    whole = 0.0
    for row in range(size):
        for column in range(size):
            whole += square[row, column] ** 2
    for _ in range(MOST_SWEEPS):
        beside = 0.0
        for row in range(size):
            for column in range(row + 1, size):
                beside += square[row, column] ** 2
        if beside <= TINY**2 * whole:
            return
        for one in range(size):
            for other in range(one + 1, size):
                if square[one, other] != 0:
                    _rotate(square, turns, one, other)


@numba.njit(cache=True)
def _rotate(square, turns, one, other):  # type: ignore[no-untyped-def]
    """Make one pair of entries beside the diagonal zero."""
    half = (square[other, other] - square[one, one]) / (2 * square[one, other])
    tangent = 1 / (abs(half) + np.sqrt(half * half + 1))
    if half < 0:
        tangent = -tangent
    cosine = 1 / np.sqrt(tangent * tangent + 1)
    sine = tangent * cosine
    first, second = square[one, one], square[other, other]
    between = square[one, other]
    for place in range(len(square)):
        mine, theirs = square[one, place], square[other, place]
        square[one, place] = cosine * mine - sine * theirs
        square[other, place] = sine * mine + cosine * theirs
    for place in range(len(square)):
        mine, theirs = turns[one, place], turns[other, place]
        turns[one, place] = cosine * mine - sine * theirs
        turns[other, place] = sine * mine + cosine * theirs
    for place in range(len(square)):  # it stays symmetric
        square[place, one], square[place, other] = square[one, place], square[other, place]
    square[one, one], square[other, other] = first - tangent * between, second + tangent * between
    square[one, other] = square[other, one] = 0.0


@numba.njit(cache=True)
def _orthonormalize(rows):  # type: ignore[no-untyped-def]
    """Make the rows orthonormal, one after the other; what was taken off once is taken off again, for rounding."""
    count, size = rows.shape
    turned = np.zeros((size, count))  # finished rows as columns, so that all products with one row are summed at once
    along = np.empty(count)
    for row in range(count):
        mine = rows[row]
        before = _length(mine)
        for _ in range(2):
            along[:row] = 0
            for place in range(size):
                value = mine[place]
                for other in range(row):
                    along[other] += value * turned[place, other]
            for other in range(row):
                much, others = along[other], rows[other]
                for place in range(size):
                    mine[place] -= much * others[place]
        length = _length(mine)
        if length <= 1e-10 * before:
            mine[:] = 0
        else:
            for place in range(size):
                mine[place] /= length
        turned[:, row] = mine


@numba.njit(cache=True)
def _length(row):  # type: ignore[no-untyped-def]
    total = 0.0
    for value in row:
        total += value * value
    return np.sqrt(total)
