"""EASE: a linear item-to-item model in closed form (Steck 2019, "Embarrassingly shallow autoencoders")."""

import os

import numba
import numpy as np

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_number
from simenv.products import ROWS, add_rows

from .recommender import Recommender, fame_of, seen_matrix

BYTES_A_PAIR = 5  # of items: the Gram matrix, which becomes the weights, and some room for the sparse product
TILE = 64


class Ease(Recommender):
    """Predicts each item from all the others of the history; no item may predict itself.

    A user who met twice the mean number of items counts half as much to the power `modesty`.
    """

    learnt = ("weights", "fame")

    def __init__(self, *, regularisation: float = 300.0, modesty: float = 0.0) -> None:
        check_number(above=0, most=1e9, regularisation=regularisation)  # or there is no one solution
        check_number(least=0, modesty=modesty)
        self.regularisation = regularisation
        self.modesty = modesty

    def learn(self, dataset: Dataset) -> None:
        """Solve for the weights: the inverse Gram matrix, each column over minus its diagonal.

        In place and in single precision: of a matrix of all pairs of items there is never more than one.
        """
        count = len(dataset.catalog)
        _check_memory(count)
        seen = seen_matrix(dataset)
        if self.modesty:
            counts = np.diff(seen.indptr)
            usual = float(counts[counts > 0].mean()) if counts.any() else 1.0
            weights = (usual / np.maximum(counts, 1)) ** (self.modesty / 2)
            seen.data = np.repeat(weights.astype(np.float32), counts)
        gram = (seen.T @ seen).toarray(order="C")
        gram[np.diag_indices(count)] += self.regularisation
        if not _invert(gram):
            raise SimenvError(
                f"regularisation is {self.regularisation}, too small for these data in single precision;"
                f" try {10 * self.regularisation:g}"
            )
        _turn_over(gram)
        self.weights = gram
        self.fame = fame_of(dataset)  # decides where a history says nothing

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items that each user's history, this session included, predicts best."""
        return context.top(context.profile() @ self.weights + self.fame, k)


@numba.njit(cache=True)
def _invert(square):  # type: ignore[no-untyped-def]
    """Turn the upper half of a symmetric positive definite matrix into minus its inverse's; tell whether it could.

    Sweeps one block of pivots after the other (Goodnight 1979), so every sum has one order on every machine.
    """
    count = len(square)
    for begin in range(0, count, TILE):
        end = min(begin + TILE, count)
        size = end - begin
        before = np.empty((size, count), dtype=square.dtype)  # the block's rows
        for row in range(size):
            before[row, begin + row :] = square[begin + row, begin + row :]
            before[row, : begin + row] = square[: begin + row, begin + row]
        inverse = before[:, begin:end].astype(np.float64)
        if not _invert_block(inverse):
            return False
        before[:, begin:end] = 0
        after = np.zeros((size, count), dtype=square.dtype)  # the same, multiplied by the block's inverse
        for row in range(size):
            for part in range(size):
                weight = square.dtype.type(inverse[row, part])
                for column in range(count):
                    after[row, column] += weight * before[part, column]
        _take_off(before, after, square)
        for row in range(size):
            square[begin + row, end:] = after[row, end:]
            square[:begin, begin + row] = after[row, :begin]
            for column in range(row, size):
                square[begin + row, begin + column] = -inverse[row, column]
    return True


@numba.njit(cache=True)
def _take_off(before, after, square):  # type: ignore[no-untyped-def]
    """Take the product of `before`, turned, and `after` off the upper half of the square."""
    size, count = before.shape
    few = np.empty((ROWS, size), dtype=square.dtype)
    whole = count - count % ROWS
    for first in range(0, whole, ROWS):
        for row in range(ROWS):
            for part in range(size):
                few[row, part] = -before[part, first + row]
        add_rows(few, after, square[first : first + ROWS], first)
    for row in range(whole, count):
        for part in range(size):
            for column in range(row, count):
                square[row, column] -= before[part, row] * after[part, column]


@numba.njit(cache=True)
def _invert_block(square):  # type: ignore[no-untyped-def]
    """Invert a small symmetric positive definite matrix in place; tell whether it could."""
    size = len(square)
    for pivot in range(size):
        one = square[pivot, pivot]
        if not one > 0:
            return False
        square[pivot] /= one
        for row in range(size):
            if row != pivot:
                factor = square[row, pivot]
                for column in range(size):
                    square[row, column] -= factor * square[pivot, column]
                square[row, pivot] = -factor / one
        square[pivot, pivot] = 1 / one
    return True


@numba.njit(cache=True)
def _turn_over(inverse):  # type: ignore[no-untyped-def]
    """Make the weights out of the upper half of minus the inverse: each column over minus its diagonal, 0 on it."""
    count = len(inverse)
    diagonal = np.diag(inverse).copy()
    for top in range(0, count, TILE):  # tile by tile: a column of so large a matrix lies all over the memory
        for left in range(top, count, TILE):
            for row in range(top, min(top + TILE, count)):
                for column in range(max(left, row + 1), min(left + TILE, count)):
                    value = -inverse[row, column]
                    inverse[row, column] = value / diagonal[column]
                    inverse[column, row] = value / diagonal[row]
    for item in range(count):
        inverse[item, item] = 0.0


def _check_memory(items: int) -> None:
    """Refuse a catalogue whose matrices would not fit, before anything is killed for it."""
    wanted = BYTES_A_PAIR * items**2
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else wanted
    if wanted > there:
        raise SimenvError(
            f"ease: {items} items take {wanted / 2**30:.0f} GiB of memory and there are {there / 2**30:.0f};"
            " use item-knn, or a smaller catalogue"
        )
