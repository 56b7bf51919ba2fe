"""Implicit alternating least squares (Hu 2008; frequency-scaled regularisation after Rendle 2021)."""

import numba
import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.options import check_number, check_whole
from simenv.products import product
from simenv.store import Arrays

from .learned import Learned
from .recommender import fame_of, seen_matrix


class IALS(Learned):
    """Solves in turn for all users' vectors and all items': 1 for what was chosen, 0, at a small weight, for all else.

    A user's vector is solved for anew at every page, this session included, so nothing is approximate.
    """

    learnt = ("table", "gram", "offsets")

    def __init__(
        self,
        *,
        dimensions: int = 64,
        unseen: float = 0.1,
        regularisation: float = 0.003,
        scaling: float = 1.0,
        epochs: int = 15,
        patience: int = 3,
        check_every: int = 1,
        seed: int = 0,
    ) -> None:
        check_whole(dimensions=dimensions, epochs=epochs, check_every=check_every)
        check_whole(least=0, seed=seed, patience=patience)
        check_number(above=0, unseen=unseen, regularisation=regularisation)
        check_number(scaling=scaling)
        self.dimensions = dimensions
        self.unseen = unseen  # the weight of what was not chosen, against 1
        self.regularisation = regularisation
        self.scaling = scaling  # how far regularisation grows with the number of interactions
        self.epochs = epochs
        self.patience = patience
        self.check_every = check_every
        self.seed = seed

    def begin(self, dataset: Dataset) -> None:
        """Draw small vectors."""
        seen = seen_matrix(dataset)
        turned = seen.T.tocsr()
        self._rows = seen.indptr.astype(np.int64), seen.indices.astype(np.int32)
        self._columns = turned.indptr.astype(np.int64), turned.indices.astype(np.int32)
        size = self.dimensions
        draw = stream(self.seed, "ials").normal
        self._users = np.zeros((len(dataset.users), size), dtype=np.float32)
        self._items = draw(0, 0.1 / np.sqrt(size), size=(len(dataset.catalog), size)).astype(np.float32)
        self.offsets = fame_of(dataset)

    def epoch(self, number: int) -> float:  # noqa: ARG002
        """Solve for the users, then for the items; return the mean squared error on what was chosen."""
        self._solve(self._rows, self._items, self._users)
        self._solve(self._columns, self._users, self._items)
        return float(_error(*self._rows, self._users, self._items))

    def ready(self) -> None:
        """Keep the items' vectors and the sum of their squares."""
        self.table = self._items.copy()
        self.gram = self._weighted_gram(self.table)

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items with the greatest product."""
        return context.top_products(self.vectors(context), self.table, k, offsets=self.offsets)

    def vectors(self, context: Context) -> FloatArray:
        """Return each user's vector [B, D], solved for with what happened in this session; zero without a history."""
        profile = context.profile()
        found = np.zeros((len(context), self.dimensions), dtype=np.float32)
        items = profile.indices.astype(np.int32)
        _solve_rows(
            profile.indptr.astype(np.int64),
            items,
            profile.data.astype(np.float32),
            self.table,
            self.gram,
            np.float32(self.regularisation),
            np.float32(self.scaling),
            np.float32(self.unseen * len(self.table)),
            found,
        )
        return found

    def progress(self) -> Arrays:
        """Return the items' vectors: the users' follow from them."""
        return {"items": self._items}

    def resume(self, arrays: Arrays) -> None:
        """Go on with these vectors."""
        self._items[:] = arrays["items"]

    def _solve(self, ragged: tuple[IntArray, IntArray], given: FloatArray, found: FloatArray) -> None:
        starts, items = ragged
        _solve_rows(
            starts,
            items,
            np.ones(len(items), dtype=np.float32),
            given,
            self._weighted_gram(given),
            np.float32(self.regularisation),
            np.float32(self.scaling),
            np.float32(self.unseen * len(given)),
            found,
        )

    def _weighted_gram(self, given: FloatArray) -> FloatArray:
        return np.float32(self.unseen) * product(given.T, given)


@numba.njit(cache=True, parallel=True)
def _solve_rows(starts, items, weights, given, gram, shrinkage, scaling, unseen, found):  # type: ignore[no-untyped-def]
    """Solve for each row's vector: the ridge regression of 1 on its items' vectors, 0 on all vectors."""
    size = given.shape[1]
    for row in numba.prange(len(found)):
        begin, end = starts[row], starts[row + 1]
        found[row] = 0
        if begin == end:
            continue
        square = np.empty((size, size), dtype=np.float32)
        square[:] = gram
        side = np.zeros(size, dtype=np.float32)
        mass = np.float32(0)
        for entry in range(begin, end):
            vector, weight = given[items[entry]], weights[entry]
            mass += weight
            for one in range(size):
                scaled = weight * vector[one]
                side[one] += scaled
                for other in range(one, size):
                    square[one, other] += scaled * vector[other]
        ridge = shrinkage * (mass + unseen) ** scaling
        for one in range(size):
            square[one, one] += ridge
        _cholesky_solve(square, side)
        found[row] = side


@numba.njit(cache=True)
def _cholesky_solve(square, side):  # type: ignore[no-untyped-def]
    """Solve in place for `side`; only the upper half of the square is read, and is used up."""
    size = len(side)
    for row in range(size):
        root = np.sqrt(square[row, row])
        for column in range(row, size):
            square[row, column] /= root
        for below in range(row + 1, size):
            factor = square[row, below]
            for column in range(below, size):
                square[below, column] -= factor * square[row, column]
        side[row] /= square[row, row]
        for below in range(row + 1, size):
            side[below] -= square[row, below] * side[row]
    for row in range(size - 1, -1, -1):
        for column in range(row + 1, size):
            side[row] -= square[row, column] * side[column]
        side[row] /= square[row, row]


@numba.njit(cache=True)
def _error(starts, items, users, others):  # type: ignore[no-untyped-def]
    total = 0.0
    for row in range(len(users)):
        for entry in range(starts[row], starts[row + 1]):
            score = 0.0
            for place in range(users.shape[1]):
                score += users[row, place] * others[items[entry], place]
            total += (1 - score) ** 2
    return total / max(len(items), 1)
