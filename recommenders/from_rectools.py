"""Any model of RecTools (MTS) that learns from interactions alone, as a policy: SASRec, BERT4Rec, EASE and others."""

import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_whole
from simenv.pages import EMPTY
from simenv.store import Arrays

from .foreign import by_items, filled, find_model, making, seeded
from .from_implicit import one_blas_thread
from .moves import learn_moves, moved_vectors
from .recommender import Recommender, fame_of

LOG = logging.getLogger(__name__)
MODELS = dict.fromkeys(
    [
        "SASRecModel",
        "BERT4RecModel",
        "EASEModel",
        "ImplicitALSWrapperModel",
        "ImplicitBPRWrapperModel",
        "ImplicitItemKNNWrapperModel",
        "PureSVDModel",
        "PopularModel",
    ],
    "rectools.models",
)
TOGETHER = 32  # users who are asked about at once, never more or fewer: rounding must not depend on the batch
WHOLE = 1000  # items of a history that a model without a window gets


class FromRecTools(Recommender):
    """A model of RecTools by its name, with the options of its configuration, as `from_config` takes them.

    Each row counts 1, and the order of a user's rows stands for the time. A session is told without fitting again:

    - SASRec and BERT4Rec get a data set in which the history goes on with what was liked or viewed;
    - EASE and item neighbours add up what all items of the history say, this session's included;
    - ALS, BPR and PureSVD have a fixed vector for each user, says RecTools, so the adapter moves it as, over all
      fitted users, vectors go with histories: by a linear map of the history's items;
    - PopularModel cannot be told: a warning says so when it is fitted.

    Models that want more than interactions (LightFM, DSSM, PopularInCategory, HSTU) are not here, nor is RandomModel,
    whose pages no seed repeats: simenv's own `random` is. An item that a model never names comes after all others.

    RecTools' models can only be pickled, so this policy cannot be saved.
    """

    def __init__(self, *, model: str = "EASEModel", options: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        self.model = model
        self.options = dict(options or {})
        check_whole(least=0, seed=seed)
        self.seed = seed
        self._fitted = self._made()  # an option that is wrong is told at once

    def learn(self, dataset: Dataset) -> None:
        """Fit RecTools' model."""
        self.fame = fame_of(dataset)
        self._items = len(dataset.catalog)
        log = dataset.interactions
        known = self._data(log.users, log.items, len(dataset.users))
        with _quiet(), seeded(self.seed), one_blas_thread():
            self._fitted = model = self._made().fit(known)
        if hasattr(model, "weight"):  # EASE
            self._way, self._weights = "sums", _square(model.weight, self._items)
        elif hasattr(getattr(model, "model", None), "similarity"):  # neighbours
            self._way, self._weights = "sums", _square(model.model.similarity, self._items)
        elif hasattr(model, "_get_u2i_vectors"):
            self._way = "moves"
            users, items = model._get_u2i_vectors(known)
            self._table = _tall(items, self._items)
            self._own, self._said, self._power = learn_moves(dataset, _tall(users, len(dataset.users)), self._table)
        else:
            self._way = "asks"
            if not self._is_told(dataset):
                LOG.warning(
                    "RecTools' %s cannot be told what happens in a session: its pages only leave out what was shown",
                    self.model,
                )

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` best items by what RecTools learnt and by this session."""
        if self._way == "sums":
            return context.top(by_items(context, self._weights) + self.fame, k)
        if self._way == "moves":
            vectors = moved_vectors(context, self._own, self._said, self._power)
            return context.top_products(vectors, self._table, k, offsets=self.fame)
        window = getattr(self._fitted, "session_max_len", WHOLE)
        return context.top(filled(self._scores(context.histories(window)), self.fame), k)

    def state(self) -> Arrays:
        """Say that there is none."""
        raise SimenvError("RecTools' models can only be pickled, so this policy cannot be saved")

    def restore(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Say that there is none."""
        self.state()

    def _scores(self, histories: IntArray) -> FloatArray:
        """Return the score of every item by these histories [B, W]; NaN where RecTools names none."""
        scores = np.full((len(histories), self._items), np.nan)
        able = np.flatnonzero((histories != EMPTY).any(axis=1))
        for first in range(0, len(able), TOGETHER):
            rows = able[first : first + TOGETHER]
            some = histories[np.resize(rows, TOGETHER)]
            users, places = np.nonzero(some != EMPTY)
            with _quiet(), one_blas_thread():
                found = self._fitted.recommend(
                    np.arange(TOGETHER),
                    self._data(users, some[users, places], TOGETHER),
                    k=self._items,
                    filter_viewed=False,
                    add_rank_col=False,
                    on_unsupported_targets="ignore",
                )
            asked, items, told = (found[name].to_numpy() for name in ("user_id", "item_id", "score"))
            mine = asked < len(rows)
            scores[rows[asked[mine]], items[mine]] = told[mine]
        return scores

    def _is_told(self, dataset: Dataset) -> bool:
        """Tell whether the scores change with the history."""
        histories = np.full((2, 2), EMPTY, dtype=np.int32)
        histories[0] = dataset.interactions.items[:2]
        histories[1] = dataset.interactions.items[-2:]
        one, other = self._scores(histories)
        return not np.array_equal(one, other, equal_nan=True)

    def _data(self, users: IntArray, items: IntArray, count: int) -> Any:
        """Return RecTools' data set of these rows, in which all numbers are what they are here."""
        parts, pandas = importlib.import_module("rectools.dataset"), importlib.import_module("pandas")
        table = pandas.DataFrame({"user_id": users, "item_id": items, "weight": 1.0})
        table["datetime"] = pandas.to_datetime(np.arange(len(table)), unit="s")
        who, what = parts.IdMap(np.arange(count)), parts.IdMap(np.arange(self._items))
        return parts.Dataset(who, what, parts.Interactions.from_raw(table, who, what))

    def _made(self) -> Any:
        """Return the model, not yet fitted."""
        maker = find_model("rectools", self.model, MODELS, ("fit", "recommend", "from_config"))
        with making("rectools", self.model, self.options), _quiet(), one_blas_thread():
            if not hasattr(maker, "from_config"):  # what stands there in its place
                raise SimenvError("it needs more than is installed; pip install 'rectools[torch]' brings it")
            options = dict(self.options)
            inner = _inner(self.model, self.seed)
            if inner:
                options["model"] = inner | options.get("model", {})
            model = maker.from_config(options)
            if self.model == "PureSVDModel":  # where RecTools hands a number on, SciPy 1.17 fails
                model.random_state = np.random.default_rng(options.get("random_state", self.seed))
            return model


def _inner(model: str, seed: int) -> dict[str, Any]:
    """Return what a wrapped model of implicit is given, where the options say nothing else."""
    if model == "ImplicitItemKNNWrapperModel":
        return {"cls": "TFIDFRecommender"}
    if model == "ImplicitBPRWrapperModel":
        return {"random_state": seed, "num_threads": 1}  # more threads than one would be a matter of luck
    return {"random_state": seed} if model == "ImplicitALSWrapperModel" else {}


def _square(weights: Any, size: int) -> sparse.csr_array | FloatArray:
    """Return weights of all pairs of items: RecTools' end with the last item that anybody met."""
    if hasattr(weights, "tocoo"):
        parts = weights.tocoo()
        return sparse.csr_array((parts.data, (parts.row, parts.col)), shape=(size, size))
    return np.pad(np.asarray(weights, dtype=np.float32), (0, size - len(weights)))


def _tall(vectors: FloatArray, size: int) -> FloatArray:
    """Return a vector for everybody: RecTools' end with the last who met anything."""
    return np.pad(np.asarray(vectors, dtype=np.float32), ((0, size - len(vectors)), (0, 0)))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what RecTools' own libraries say of themselves from the user."""
    loud = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "lightning.pytorch")]
    levels = [log.level for log in loud]
    for log in loud:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loud, levels, strict=True):
            log.setLevel(level)
