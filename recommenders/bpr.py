"""Matrix factorisation by pairs: what was chosen should stand before what was not (BPR, Rendle 2009)."""

import numba
import numpy as np

from simenv.chance import key, mix_one, stream
from simenv.dataset import Dataset
from simenv.options import check_number, check_whole
from simenv.store import Arrays

from .factors import Factors, Parts
from .learned import falling
from .moves import learn_moves
from .recommender import seen_matrix


class BPR(Factors):
    """Learns vectors by stochastic gradient steps on pairs of a chosen item and one drawn from the rest.

    Of several `negatives` drawn, the one that now scores best is taken: it has most to teach.

    The learning rate falls evenly to a tenth over the epochs. In a session a user's vector moves as, over all
    fitted users, vectors move with histories: by a linear map from what the history's items sum up to.
    """

    def __init__(
        self,
        *,
        dimensions: int = 64,
        learning_rate: float = 0.05,
        regularisation: float = 0.01,
        negatives: int = 1,
        epochs: int = 100,
        patience: int = 10,
        check_every: int = 1,
        seed: int = 0,
    ) -> None:
        check_whole(dimensions=dimensions, negatives=negatives, epochs=epochs, check_every=check_every)
        check_whole(least=0, seed=seed, patience=patience)
        check_number(above=0, learning_rate=learning_rate)
        check_number(least=0, regularisation=regularisation)
        self.dimensions = dimensions
        self.learning_rate = learning_rate
        self.regularisation = regularisation
        self.negatives = negatives
        self.epochs = epochs
        self.patience = patience
        self.check_every = check_every
        self.seed = seed

    def begin(self, dataset: Dataset) -> None:
        """Draw small vectors."""
        super().begin(dataset)
        rng = stream(self.seed, "bpr")
        size = self.dimensions
        self._dataset = dataset
        self._users = rng.normal(0, 0.1, size=(len(dataset.users), size)).astype(np.float32)
        self._items = rng.normal(0, 0.1, size=(len(dataset.catalog), size)).astype(np.float32)
        self._seen = seen_matrix(dataset)
        self._seen.sort_indices()

    def epoch(self, number: int) -> float:
        """Take a step for every pair of a user and a chosen item, in an order of the epoch's own."""
        seen = self._seen
        owners = np.repeat(np.arange(seen.shape[0], dtype=np.int32), np.diff(seen.indptr))
        order = stream(self.seed, "bpr order", number).permutation(seen.nnz)
        rate = falling(self.learning_rate, number, self.epochs)
        total = _epoch(
            owners,
            seen.indices,
            seen.indptr,
            order,
            key(self.seed, "bpr", number),
            self._users,
            self._items,
            np.float32(rate),
            np.float32(self.regularisation),
            self.negatives,
        )
        return total / max(seen.nnz, 1)

    def fit_parts(self) -> Parts:
        """Return what a linear map of the history leaves to the user, the map of each item, and the items."""
        return Parts(*learn_moves(self._dataset, self._users, self._items), self._items)

    def progress(self) -> Arrays:
        """Return the vectors."""
        return {"users": self._users, "items": self._items}

    def resume(self, arrays: Arrays) -> None:
        """Go on with these vectors."""
        self._users, self._items = arrays["users"], arrays["items"]


@numba.njit(cache=True, fastmath={"contract", "reassoc", "nsz"})
def _epoch(owners, chosen, starts, order, bits, users, items, rate, shrinkage, tries):  # type: ignore[no-untyped-def]
    total = 0.0
    count, size = len(items), users.shape[1]
    for row in order:
        owner = owners[row]
        good = chosen[row]
        if starts[owner + 1] - starts[owner] == count:
            continue  # nothing is left that he did not choose
        mine, better = users[owner], items[good]
        drawn, bad, most = bits, -1, np.float32(-np.inf)
        for _ in range(tries):
            drawn = mix_one(drawn, row)
            item = _place(drawn, count)
            while is_among(chosen, starts[owner], starts[owner + 1], item):
                drawn = mix_one(drawn, row)
                item = _place(drawn, count)
            score = _product(mine, items[item])
            if bad < 0 or score > most:
                bad, most = item, score
        worse = items[bad]
        gap = _product(mine, better) - most
        push = np.float32(1 / (1 + np.exp(gap)))
        total -= np.log(1 - push + 1e-12)
        step = rate * push
        shrink = 1 - rate * shrinkage
        for place in range(size):
            own, good_one, bad_one = mine[place], better[place], worse[place]
            mine[place] = shrink * own + step * (good_one - bad_one)
            better[place] = shrink * good_one + step * own
            worse[place] = shrink * bad_one - step * own
    return total


@numba.njit(cache=True, inline="always", fastmath={"contract", "reassoc", "nsz"})
def _product(one, other):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for place in range(len(one)):
        total += one[place] * other[place]
    return total


@numba.njit(cache=True, inline="always")
def _place(bits, count):  # type: ignore[no-untyped-def]
    """Return a number below `count` from the upper half of the bits."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@numba.njit(cache=True)
def is_among(items, begin, end, item):  # type: ignore[no-untyped-def]
    """Tell whether a sorted stretch holds the item."""
    while begin < end:
        middle = (begin + end) >> 1
        if items[middle] < item:
            begin = middle + 1
        elif items[middle] > item:
            end = middle
        else:
            return True
    return False
