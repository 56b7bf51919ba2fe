"""Any model of implicit (Frederickson) as a policy: alternating least squares, BPR, logistic MF, item neighbours."""

import importlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_whole
from simenv.store import Arrays

from .foreign import by_items, find_model, making
from .moves import learn_moves, moved_vectors
from .recommender import Recommender, fame_of, seen_matrix

MODELS = {
    "AlternatingLeastSquares": "implicit.als",
    "BayesianPersonalizedRanking": "implicit.bpr",
    "LogisticMatrixFactorization": "implicit.lmf",
    "CosineRecommender": "implicit.nearest_neighbours",
    "TFIDFRecommender": "implicit.nearest_neighbours",
    "BM25Recommender": "implicit.nearest_neighbours",
    "ItemItemRecommender": "implicit.nearest_neighbours",
}
BY_LUCK = ("BayesianPersonalizedRanking", "LogisticMatrixFactorization")  # with more threads than one
# What is learnt, by how a session is told.
LEARNT = {
    "sums": ("weights", "fame"),
    "solves": ("table", "fame"),
    "moves": ("own", "said", "power", "table", "fame"),
}


class FromImplicit(Recommender):
    """A model of implicit by its name, with the options that implicit's own class takes.

    Each pair of a user and an item counts once, at 1. A session is told without fitting again:

    - item neighbours add up what all items of the history say, this session's included;
    - ALS solves for the user's vector anew, as implicit's `recalculate_user` does;
    - BPR and logistic MF cannot be told, says implicit, so the adapter moves the user's vector as, over all fitted
      users, vectors go with histories: by a linear map of the history's items. Before a session's first like or view
      the vector is the one that implicit learnt.

    Pages are filled from the learnt arrays, not by implicit's own `recommend`. It runs on the CPU and, where more
    threads would be a matter of luck (BPR, logistic MF), on one of them, unless the options say otherwise.
    """

    weights: sparse.csr_array  # [I, I], what an item says for others
    own: FloatArray  # [U, D], what is a user's alone
    said: FloatArray  # [I, D], what an item says of its users
    power: FloatArray  # of a history's length that its sum is divided by
    table: FloatArray  # [I, D]
    fame: FloatArray  # [I]

    def __init__(
        self, *, model: str = "AlternatingLeastSquares", options: Mapping[str, Any] | None = None, seed: int = 0
    ) -> None:
        self.model = model
        self.options = dict(options or {})
        check_whole(least=0, seed=seed)
        self.seed = seed
        self._fitted = self._made()  # an option that is wrong is told at once
        self._way = _way_of(self._fitted)

    @property
    def learnt(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on the model
        """The attributes that `learn` sets."""
        return LEARNT[self._way]

    def learn(self, dataset: Dataset) -> None:
        """Fit implicit's model and take over what it learnt."""
        model = self._made()
        kind = np.float64 if self._way == "sums" else np.float32  # what implicit's loops take
        seen = sparse.csr_matrix(seen_matrix(dataset), dtype=kind)
        with one_blas_thread(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Method expects CSR")  # which implicit says of its own doing
            model.fit(seen, show_progress=False)
        if hasattr(model, "to_cpu"):
            model = model.to_cpu()
        self.fame = fame_of(dataset)
        if self._way == "sums":
            self.weights = sparse.csr_array(model.similarity)
            return
        self.table = np.ascontiguousarray(model.item_factors, dtype=np.float32)
        if self._way == "moves":
            self.own, self.said, self.power = learn_moves(dataset, np.asarray(model.user_factors), self.table)
        else:
            self._fitted = self._solver()

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` best items by what implicit learnt and by this session."""
        if self._way == "sums":
            return context.top(by_items(context, self.weights) + self.fame, k)
        return context.top_products(self.vectors(context), self.table, k, offsets=self.fame)

    def vectors(self, context: Context) -> FloatArray:
        """Return each user's vector [B, D]; zero for one without a history."""
        if self._way == "moves":
            if len(context.train.users) != len(self.own):
                raise SimenvError(
                    f"FromImplicit was fitted to {len(self.own)} users and is asked about"
                    f" {len(context.train.users)}; fit it again"
                )
            return moved_vectors(context, self.own, self.said, self.power)
        with one_blas_thread():
            return self._fitted.recalculate_user(context.users, sparse.csr_matrix(context.profile()))

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        super().restore(arrays)
        if self._way == "solves":
            self._fitted = self._solver()

    def _made(self, **fixed: Any) -> Any:
        """Return the model, not yet fitted."""
        maker = find_model("implicit", self.model, MODELS, ("fit", "recommend"))
        ours = {"random_state": self.seed, "use_gpu": False}
        if self.model in BY_LUCK:
            ours["num_threads"] = 1
        with making("implicit", self.model, self.options), one_blas_thread():
            taken = inspect.signature(maker).parameters
            return maker(**{name: value for name, value in ours.items() if name in taken} | self.options | fixed)

    def _solver(self) -> Any:
        """Return a model that holds the items' vectors, to solve for users' vectors."""
        model = self._made(use_gpu=False)
        model.item_factors = self.table.astype(model.dtype)
        return model


def _way_of(model: Any) -> str:
    """Return how a session is told to a model."""
    if hasattr(model, "similarity"):
        return "sums"
    if not hasattr(model, "item_factors"):
        raise SimenvError(
            f"{type(model).__name__} is no model of implicit's kind: it has neither vectors nor neighbours"
        )
    told = type(model).recalculate_user.__qualname__  # the base's only says that it cannot
    return "moves" if told.startswith("MatrixFactorizationBase.") else "solves"


def one_blas_thread() -> Any:
    """Return a context in which BLAS has one thread: implicit has its own, and the two get in each other's way."""
    return importlib.import_module("threadpoolctl").threadpool_limits(1, "blas")
