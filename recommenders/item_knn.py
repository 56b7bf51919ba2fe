"""Items whose buyers bought the user's items: nearest neighbours among items."""

import numba
import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray
from simenv.best import best_row
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.options import check_number, check_whole
from simenv.pages import EMPTY

from .recommender import Recommender, fame_of, seen_matrix

BLOCK = 1024  # items whose similarities are held at once


class ItemKNN(Recommender):
    """Scores an item by its cosine similarity to the items of the user's history.

    The users who met both items have a say each, over the power `modesty` of how many items they met: one who met
    everything tells little of what goes together. `shrink` is added to the norms, so that few users are not believed.
    """

    learnt = ("similarity", "fame")

    def __init__(self, *, neighbours: int = 100, shrink: float = 10.0, modesty: float = 0.0) -> None:
        check_whole(neighbours=neighbours)
        check_number(least=0, shrink=shrink, modesty=modesty)
        self.neighbours = neighbours
        self.shrink = shrink
        self.modesty = modesty

    def learn(self, dataset: Dataset) -> None:
        """Keep each item's nearest neighbours: common users over the geometric mean of both, shrunk."""
        seen = seen_matrix(dataset)
        by_item = sparse.csr_array(seen.T)
        norms = np.sqrt(np.diff(by_item.indptr).astype(np.float32))
        counts = np.diff(seen.indptr)
        seen.data = np.repeat(np.maximum(counts, 1) ** np.float32(-self.modesty), counts)
        blocks = [self._block(by_item, seen, norms, first) for first in range(0, len(norms), BLOCK)]
        self.similarity = sparse.csr_array(sparse.vstack(blocks).T)
        self.fame = fame_of(dataset)  # decides where no neighbour speaks

    def _block(
        self, by_item: sparse.csr_array, seen: sparse.csr_array, norms: FloatArray, first: int
    ) -> sparse.csr_array:
        """Return the nearest neighbours of some items: [BLOCK, I]."""
        common = by_item[first : first + BLOCK] @ seen
        common.sort_indices()  # ties go to the lower item
        kept = np.full((common.shape[0], self.neighbours), EMPTY, dtype=np.int32)
        similar = np.zeros(kept.shape, dtype=np.float32)
        starts = common.indptr.astype(np.int64)
        _nearest(starts, common.indices, common.data, norms, np.float32(self.shrink), first, kept, similar)
        rows, places = np.nonzero(kept != EMPTY)
        return sparse.csr_array((similar[rows, places], (rows, kept[rows, places])), shape=common.shape)

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items most similar to all that each user chose, this session included."""
        return context.top((context.profile() @ self.similarity).toarray() + self.fame, k)


@numba.njit(cache=True)
def _nearest(starts, items, common, norms, shrink, first, kept, similar):  # type: ignore[no-untyped-def]
    """Keep for each row the items most similar to it: common users over both norms, shrunk."""
    for row in range(len(kept)):
        begin, end = starts[row], starts[row + 1]
        own = first + row
        values = np.empty(end - begin, dtype=np.float32)
        for entry in range(begin, end):
            item = items[entry]
            near = common[entry] / (norms[own] * norms[item] + shrink)
            values[entry - begin] = near if item != own else np.float32(-np.inf)
        best_row(values, kept[row], similar[row])
        for place in range(kept.shape[1]):
            if kept[row, place] != EMPTY:
                kept[row, place] = items[begin + kept[row, place]]
