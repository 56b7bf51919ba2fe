"""EASE: a linear item-to-item model in closed form (Steck 2019, "Embarrassingly shallow autoencoders")."""

import os

import numpy as np
from scipy import linalg, sparse

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError

BYTES_A_PAIR = 24  # of items: the Gram matrix and its lower half in eight bytes, the weights and their turn in four


class Ease:
    """Predicts each item from all the others of the history; no item may predict itself."""

    def __init__(self, *, regularisation: float = 300.0) -> None:
        if not regularisation > 0:
            raise SimenvError(f"regularisation is {regularisation}; it must be above 0, or there is no one solution")
        self.regularisation = regularisation

    def fit(self, dataset: Dataset) -> None:
        """Solve for the weights: the inverse Gram matrix, each column over minus its diagonal."""
        log = dataset.interactions
        count = len(dataset.catalog)
        _check_memory(count)
        seen = sparse.csr_array((np.ones(len(log)), (log.users, log.items)), shape=(len(dataset.users), count))
        seen.sum_duplicates()
        seen.data[:] = 1
        gram = np.asfortranarray((seen.T @ seen).toarray())
        gram[np.diag_indices(count)] += self.regularisation
        factor, _ = linalg.lapack.dpotrf(gram, lower=1, overwrite_a=1)
        inverse, _ = linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
        weights = np.tril(inverse, -1).astype(np.float32)
        weights += weights.T.copy()
        weights /= -np.diag(inverse).astype(np.float32)
        self.weights = weights

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return the `k` items that each user's history, this session included, predicts best."""
        return context.top(context.profile() @ self.weights, k)


def _check_memory(items: int) -> None:
    """Refuse a catalogue whose matrices would not fit, before anything is killed for it."""
    wanted = BYTES_A_PAIR * items**2
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else wanted
    if wanted > there:
        raise SimenvError(
            f"ease: {items} items take {wanted / 2**30:.0f} GiB of memory and there are {there / 2**30:.0f};"
            " use item-knn, or a smaller catalogue"
        )
