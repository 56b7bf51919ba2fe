"""EASE: a linear item-to-item model in closed form (Steck 2019, "Embarrassingly shallow autoencoders")."""

import numpy as np
from scipy import linalg, sparse

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset


class Ease:
    """Predicts each item from all the others of the history; no item may predict itself."""

    about = "a linear model of every item by all others, in closed form"

    def __init__(self, *, regularisation: float = 300.0) -> None:
        self.regularisation = regularisation

    def fit(self, dataset: Dataset) -> None:
        """Solve for the weights: the inverse Gram matrix, each column over minus its diagonal."""
        log = dataset.interactions
        count = len(dataset.catalog)
        seen = sparse.csr_array((np.ones(len(log)), (log.users, log.items)), shape=(len(dataset.users), count))
        seen.data[:] = 1
        gram = (seen.T @ seen).toarray()
        gram[np.diag_indices(count)] += self.regularisation
        inverse = linalg.inv(gram, overwrite_a=True)
        weights = inverse / -np.diag(inverse)
        weights[np.diag_indices(count)] = 0
        self.weights = weights.astype(np.float32)

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return the `k` items that each user's history, this session included, predicts best."""
        return context.top(context.profile() @ self.weights, k)
