"""Items whose buyers bought the user's items: nearest neighbours among items."""

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError

from .recommender import Recommender, fame_of, seen_matrix

BLOCK = 1024  # items whose similarities are held at once


class ItemKNN(Recommender):
    """Scores an item by its cosine similarity to the items of the user's history."""

    learnt = ("similarity", "fame")

    def __init__(self, *, neighbours: int = 100, shrink: float = 10.0) -> None:
        if neighbours < 1:
            raise SimenvError(f"neighbours is {neighbours}; it must be at least 1")
        self.neighbours = neighbours
        self.shrink = shrink

    def learn(self, dataset: Dataset) -> None:
        """Keep each item's nearest neighbours: common users over the geometric mean of both, shrunk."""
        count = len(dataset.catalog)
        seen = seen_matrix(dataset)
        by_item = sparse.csr_array(seen.T)
        norms = np.sqrt(np.bincount(seen.indices, minlength=count).astype(np.float32))
        blocks = [self._block(by_item, seen, norms, first) for first in range(0, count, BLOCK)]
        self.similarity = sparse.csr_array(sparse.vstack(blocks).T)
        self.fame = fame_of(dataset)  # decides where no neighbour speaks

    def _block(
        self, by_item: sparse.csr_array, seen: sparse.csr_array, norms: FloatArray, first: int
    ) -> sparse.csr_array:
        common = (by_item[first : first + BLOCK] @ seen).toarray()
        rows = np.arange(len(common))
        common[rows, first + rows] = 0
        # An item that nobody met is like no other, whatever the shrinkage.
        similar = common / np.maximum(norms[first : first + BLOCK, None] * norms + self.shrink, 1e-9)
        width = similar.shape[1]
        if self.neighbours < width:
            farther = np.argpartition(-similar, self.neighbours, axis=1)[:, self.neighbours :]
            np.put_along_axis(similar, farther, 0, axis=1)
        return sparse.csr_array(similar)

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items most similar to all that each user chose, this session included."""
        return context.top((context.profile() @ self.similarity).toarray() + self.fame, k)
