"""Items whose buyers bought the user's items: nearest neighbours among items."""

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError

BLOCK = 1024  # items whose similarities are held at once


class ItemKNN:
    """Scores an item by its cosine similarity to the items of the user's history."""

    def __init__(self, *, neighbours: int = 100, shrink: float = 10.0) -> None:
        if neighbours < 1:
            raise SimenvError(f"neighbours is {neighbours}; it must be at least 1")
        self.neighbours = neighbours
        self.shrink = shrink

    def fit(self, dataset: Dataset) -> None:
        """Keep each item's nearest neighbours: common users over the geometric mean of both, shrunk."""
        log = dataset.interactions
        count = len(dataset.catalog)
        seen = sparse.csr_array(
            (np.ones(len(log), np.float32), (log.users, log.items)), shape=(len(dataset.users), count)
        )
        seen.sum_duplicates()
        seen.data[:] = 1
        by_item = sparse.csr_array(seen.T)
        norms = np.sqrt(np.bincount(seen.indices, minlength=count).astype(np.float32))
        blocks = [self._block(by_item, seen, norms, first) for first in range(0, count, BLOCK)]
        self.similarity = sparse.csr_array(sparse.vstack(blocks).T)
        # Where no neighbour speaks, fame decides; it is too small to outweigh any.
        self.fame = 1e-6 * dataset.popularity.astype(np.float32) / max(1, int(dataset.popularity.max(initial=0)))

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

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return the `k` items most similar to all that each user chose, this session included."""
        return context.top((context.profile() @ self.similarity).toarray() + self.fame, k)
