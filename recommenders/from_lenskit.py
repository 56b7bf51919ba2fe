"""Any scorer of LensKit (Ekstrand) as a policy: matrix factorisation, neighbours, EASE, SLIM and others."""

import importlib
import inspect
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.context import Context
from simenv.dataset import Dataset, grades_of
from simenv.errors import SimenvError
from simenv.options import check_whole
from simenv.pages import Grade
from simenv.store import Arrays

from .foreign import filled, find_model, making, seeded
from .recommender import Recommender, fame_of

LOG = logging.getLogger(__name__)
MODELS = {
    "ImplicitMFScorer": "lenskit.als",
    "BiasedMFScorer": "lenskit.als",
    "ItemKNNScorer": "lenskit.knn",
    "UserKNNScorer": "lenskit.knn",
    "EASEScorer": "lenskit.knn",
    "SLIMScorer": "lenskit.knn.slim",
    "FlexMFImplicitScorer": "lenskit.flexmf",
    "FlexMFExplicitScorer": "lenskit.flexmf",
    "FunkSVDScorer": "lenskit.funksvd",
    "BiasedSVDScorer": "lenskit.sklearn.svd",
    "NMFScorer": "lenskit.sklearn.nmf",
    "HPFScorer": "lenskit.hpf",
    "LightGCNScorer": "lenskit.graphs",
    "PopScorer": "lenskit.basic",
    "BiasScorer": "lenskit.basic",
}
PROBED = 5  # users by whom it is tried whether a model hears of a session


class FromLensKit(Recommender):
    """A scorer of LensKit by its name, with the options of its configuration.

    LensKit answers one user at a time, about a millisecond each. It is asked with a history that holds what was
    liked or viewed in this session, each as much as one of the past, so ALS, item and user neighbours, EASE and SLIM
    follow the session. Scorers with a fixed vector for each user (FlexMF, FunkSVD, BiasedSVD, NMF, HPF, LightGCN) and
    those that know no user's taste (PopScorer, BiasScorer) cannot be told: a warning says so when they are fitted, and
    their pages only leave out what was shown.

    Where every row has a rating LensKit gets them; an item liked or viewed in this session then counts as rated with
    the mean of the ratings of that grade. Whom a scorer knows nothing of gets the most popular items, and an item
    that it cannot score comes after all others.

    LensKit's models can only be pickled, so this policy cannot be saved.
    """

    def __init__(
        self, *, model: str = "ImplicitMFScorer", options: Mapping[str, Any] | None = None, seed: int = 0
    ) -> None:
        self.model = model
        self.options = dict(options or {})
        check_whole(least=0, seed=seed)
        self.seed = seed
        self._scorer = self._made()  # an option that is wrong is told at once

    def learn(self, dataset: Dataset) -> None:
        """Train LensKit's scorer."""
        self.fame = fame_of(dataset)
        log = dataset.interactions
        rated = len(log) > 0 and bool(np.isfinite(log.ratings).all())
        self._rating_of = _mean_ratings(log.ratings) if rated else None
        data, training = importlib.import_module("lenskit.data"), importlib.import_module("lenskit.training")
        table = importlib.import_module("pandas").DataFrame({"user_id": log.users, "item_id": log.items})
        if rated:
            table["rating"] = log.ratings
        known = data.from_interactions_df(
            table.drop_duplicates(["user_id", "item_id"], keep="last"),
            users=np.arange(len(dataset.users)),
            items=np.arange(len(dataset.catalog)),
        )
        self._scorer = self._made()
        with seeded(self.seed):
            self._scorer.train(known, training.TrainingOptions(rng=self.seed))
        self._all = data.ItemList(item_ids=np.arange(len(dataset.catalog)), vocabulary=known.items)
        self._takes = [name for name in ("query", "items") if name in inspect.signature(self._scorer).parameters]
        self._hears = self._is_told(dataset)
        if not self._hears:
            LOG.warning(
                "LensKit's %s cannot be told what happens in a session: its pages only leave out what was shown",
                self.model,
            )

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items that LensKit scores best, one user after the other."""
        log = context.train.interactions
        scores = np.full((len(context), self.item_count), np.nan)
        for row, user in enumerate(context.users.tolist()):
            here = slice(context.train.starts[user], context.train.starts[user + 1])
            past, ratings = log.items[here], log.ratings[here]
            grades = context.grades[row] * (context.shown[row] >= 0)
            liked = np.flatnonzero(grades >= Grade.VIEWED)
            if len(past) or (self._hears and len(liked)):
                told = [] if self._rating_of is None else self._rating_of[grades[liked]]
                scores[row] = self._scores(
                    user, np.concatenate([past, context.shown[row, liked]]), np.concatenate([ratings, told])
                )
        return context.top(filled(scores, self.fame), k)

    def state(self) -> Arrays:
        """Say that there is none."""
        raise SimenvError("LensKit's models can only be pickled, so this policy cannot be saved")

    def restore(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Say that there is none."""
        self.state()

    def _scores(self, user: int, items: IntArray, ratings: FloatArray) -> FloatArray:
        """Return a user's score of every item, given this history; of an item met twice the last rating counts."""
        data = importlib.import_module("lenskit.data")
        _, last = np.unique(items[::-1], return_index=True)
        last = len(items) - 1 - np.sort(last)[::-1]
        more = {} if self._rating_of is None else {"rating": ratings[last].astype(np.float32)}
        history = data.ItemList(item_ids=items[last].astype(np.int64), **more)
        asked = {"query": data.RecQuery(user_id=user, history_items=history), "items": self._all}
        answer = self._scorer(**{name: asked[name] for name in self._takes})
        return np.asarray(answer.scores(), dtype=np.float64)

    def _is_told(self, dataset: Dataset) -> bool:
        """Tell whether anybody's order of the items changes with another's history added to his own."""
        log, starts = dataset.interactions, dataset.starts
        able = np.flatnonzero(np.diff(starts))
        for user, other in zip(able[:PROBED].tolist(), able[::-1][:PROBED].tolist(), strict=True):
            mine, his = (slice(starts[one], starts[one + 1]) for one in (user, other))
            before = self._scores(user, log.items[mine], log.ratings[mine])
            both = (np.concatenate([column[mine], column[his]]) for column in (log.items, log.ratings))
            if not np.array_equal(
                np.argsort(before, kind="stable"), np.argsort(self._scores(user, *both), kind="stable")
            ):
                return True
        return False

    def _made(self) -> Any:
        """Return the scorer, not yet trained."""
        maker = find_model("lenskit", self.model, MODELS, ("train", "config_class"))
        with making("lenskit", self.model, self.options):
            _check_options(maker, self.options)
            return maker(**self.options)


def _check_options(maker: Any, options: Mapping[str, Any]) -> None:
    """Refuse an option that there is not: some of LensKit's configurations pass over it in silence."""
    config = maker.config_class()
    fields = getattr(config, "model_fields", None)
    if fields is None or config.model_config.get("extra") == "allow":
        return
    names = set(fields)
    if "embedding_size" in names:
        names.add("embedding_size_exp")  # their logarithm
    for field in fields.values():
        alias = field.validation_alias or field.alias
        names.update(getattr(alias, "choices", [alias] if alias else []))
    unknown = [name for name in options if name not in names]
    if unknown:
        raise ValueError(f"no option '{unknown[0]}'; there are {', '.join(sorted(map(str, names)))}")


def _mean_ratings(ratings: FloatArray) -> FloatArray:
    """Return, by grade, the mean of the ratings of that grade; of all, where there is none."""
    grades = grades_of(ratings)
    means = [ratings[grades == grade].mean() if (grades == grade).any() else ratings.mean() for grade in Grade]
    return np.array(means, dtype=np.float32)
