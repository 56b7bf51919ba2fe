"""EASE: a linear item-to-item model in closed form (Steck 2019, "Embarrassingly shallow autoencoders")."""

import os

import numba
import numpy as np
from scipy import linalg

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_number

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
        # Its turn is what LAPACK takes as it lies; what is the lower half there is the upper half here.
        factor, failed = linalg.lapack.spotrf(gram.T, lower=1, clean=0, overwrite_a=1)
        inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
        if failed or not np.shares_memory(inverse, gram):
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
def _turn_over(inverse):  # type: ignore[no-untyped-def]
    """Make the weights out of the inverse's upper half: each column over minus its diagonal, 0 on it."""
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
