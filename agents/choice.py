"""A statistical user fitted to a log: relevance from content and from what others chose."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from simenv.arrays import BitArray, FloatArray, GradeArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset, disliked_to, liked_from
from simenv.errors import DataError
from simenv.pages import Grade
from simenv.text import TfidfEncoder

from .browsing import Browsing, Minds, fitted, habits_of, usual_worth

COLLABORATIVE, CONTENT = 16, 8  # dimensions
SHRINK = 10.0  # ratings' worth of doubt about a user's or an item's mean
CALIBRATION_ROWS = 100_000
MOST_LEVELS = 20  # of ratings
VIEWED_WEIGHT, DISLIKED_WEIGHT = 0.5, -0.5  # of an item in a user's content profile; a liked one counts 1


class ChoicePopulation:
    """Browses by tastes, a rating scale and patience that were learnt from training rows."""

    def __init__(self, *, seed: int = 0, **habits: float) -> None:
        self.seed = seed
        self.habits = habits_of(habits)
        self.minds: Minds | None = None

    def fit(self, dataset: Dataset) -> None:
        """Learn tastes from four fifths of the rows, how much they tell from the rest; then tastes from all."""
        log = dataset.interactions
        if len(log) < 10:
            raise DataError(f"{dataset.name}: {len(log)} training rows are too few to fit the users to; 10 at least")
        if min(len(dataset.users), len(dataset.catalog)) < 2:
            raise DataError(f"{dataset.name}: to fit the users takes at least two of them, and two items")
        rng = stream(self.seed, "choice")
        aside = np.zeros(len(log), dtype=bool)
        aside[rng.permutation(len(log))[: len(log) // 5]] = True
        early = _Evidence(dataset.only(log[~aside]))
        view_weights, rate_weights, residual = _calibrate(dataset, early, np.flatnonzero(aside), rng)
        evidence = _Evidence(dataset)
        items, view, rate = evidence.fold(view_weights, rate_weights)
        noise = (residual * evidence.scale.spreads).astype(np.float32)
        cuts, levels, grades = _levels(dataset, items, rate, noise, rng)
        self.minds = Minds(
            items=items,
            view=view,
            rate=rate,
            boring=evidence.boring(),
            noise=noise,
            cuts=cuts,
            levels=levels,
            grades=grades,
            usual=usual_worth(items, view, dataset.popularity, rng),
            patience=_patience(np.diff(dataset.starts)),
            habits=self.habits,
        )

    def enter(self, users: IntArray, luck: BitArray) -> Browsing:
        """Seat these users in this order."""
        return Browsing(fitted(self.minds, self), users, luck)


class _Scale:
    """Each user's own rating scale, and how far each item's ratings lie above their raters' middle."""

    def __init__(self, dataset: Dataset) -> None:
        log = dataset.interactions
        rated = np.isfinite(log.ratings)
        users, items, ratings = log.users[rated], log.items[rated], log.ratings[rated].astype(np.float64)
        if not len(ratings):  # implicit: everybody's scale is the unit scale of log-odds to like
            ratings_mean, ratings_spread = 0.0, 1.0
        else:
            ratings_mean, ratings_spread = float(ratings.mean()), max(float(ratings.std()), 1e-3)
        count = np.bincount(users, minlength=len(dataset.users))
        total = np.bincount(users, ratings, len(dataset.users))
        self.means = (total + SHRINK * ratings_mean) / (count + SHRINK)
        squares = np.bincount(users, (ratings - self.means[users]) ** 2, len(dataset.users))
        self.spreads = np.sqrt((squares + SHRINK * ratings_spread**2) / (count + SHRINK))
        above = (ratings - self.means[users]) / self.spreads[users]
        item_count = np.bincount(items, minlength=len(dataset.catalog))
        self.quality = np.bincount(items, above, len(dataset.catalog)) / (item_count + SHRINK)

    def standard(self, users: IntArray, ratings: FloatArray) -> FloatArray:
        """Return ratings on the scale where each user's middle is 0 and spread 1."""
        return (ratings - self.means[users]) / self.spreads[users]


class _Evidence:
    """What some rows say of every user and item: factors to multiply, fame and quality."""

    def __init__(self, dataset: Dataset) -> None:
        self.scale = _Scale(dataset)
        self.fame = np.log1p(dataset.popularity).astype(np.float64)
        self.user_factors, self.item_factors = _collaborative(dataset)
        self.user_content, self.item_content = _content(dataset)

    def features(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return for each pair: collaborative match, content match, fame, quality; [N, 4]."""
        return np.stack(
            [
                np.einsum("nd,nd->n", self.user_factors[users], self.item_factors[items]),
                np.einsum("nd,nd->n", self.user_content[users], self.item_content[items]),
                self.fame[items],
                self.scale.quality[items],
            ],
            axis=1,
        )

    def fold(self, view: FloatArray, rate: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return item vectors, and user vectors whose products with them are the weighted features."""
        ones = np.ones((len(self.fame), 1))
        items = np.hstack([self.item_factors, self.item_content, self.fame[:, None], self.scale.quality[:, None], ones])
        count = len(self.user_factors)
        spreads, means = self.scale.spreads[:, None], self.scale.means[:, None]

        def users(weights: FloatArray) -> FloatArray:
            shared = np.broadcast_to(weights[2:], (count, 3))
            return np.hstack([weights[0] * self.user_factors, weights[1] * self.user_content, shared])

        rates = users(rate) * spreads
        rates[:, -1:] += means
        return items.astype(np.float32), users(view).astype(np.float32), rates.astype(np.float32)

    def boring(self) -> FloatArray:
        """Return how far each direction can bore: tastes can, fame and quality cannot."""
        parts = [self.item_factors, self.item_content]
        scale = [np.full(part.shape[1], 0.5 / max(float((part**2).sum(axis=1).mean()), 1e-9)) for part in parts]
        return np.concatenate([*scale, np.zeros(3)]).astype(np.float32)


def _collaborative(dataset: Dataset) -> tuple[FloatArray, FloatArray]:
    """Return user and item factors whose product says how far a user's company chose the item."""
    log = dataset.interactions
    shape = (len(dataset.users), len(dataset.catalog))
    seen = sparse.csr_array((np.ones(len(log)), (log.users, log.items)), shape=shape)
    seen.data[:] = 1
    by_user = 1 / np.sqrt(np.maximum(seen.sum(axis=1), 1))
    by_item = 1 / np.sqrt(np.maximum(seen.sum(axis=0), 1))
    scaled = sparse.diags_array(by_user) @ seen @ sparse.diags_array(by_item)
    rank = min(COLLABORATIVE, min(shape) - 1)
    start = stream(0, "collaborative").normal(size=min(shape))
    _, _, factors = svds(scaled, k=rank, v0=start, random_state=0)
    # A user is the mean of his items, as he would be if he came tomorrow; then both on a common scale.
    items = factors.T * by_item[:, None] * np.sqrt(shape[1])
    users = scaled @ (factors.T * np.sqrt(shape[1]))
    return users / max(float(np.sqrt((users**2).sum(axis=1).mean())), 1e-12), items


def _content(dataset: Dataset) -> tuple[FloatArray, FloatArray]:
    """Return user and item factors whose product says how far the item is like the user's best items."""
    log = dataset.interactions
    items = TfidfEncoder(CONTENT).encode(dataset.catalog)
    like, dislike = liked_from(log.ratings), disliked_to(log.ratings)
    weight = np.where(log.ratings >= like, 1.0, VIEWED_WEIGHT)
    weight = np.where(log.ratings <= dislike, DISLIKED_WEIGHT, weight)
    weight[np.isnan(log.ratings)] = 1.0
    shape = (len(dataset.users), len(items))
    total = sparse.csr_array((weight, (log.users, log.items)), shape=shape) @ items
    mass = np.bincount(log.users, np.abs(weight), len(dataset.users))
    users = total / (mass[:, None] + 1)
    return users, items


def _calibrate(
    dataset: Dataset, early: _Evidence, aside: IntArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, float]:
    """Return how far each feature tells chosen items from others, and ratings; and the rating's residual spread.

    Weights are for the features, last the constant.
    """
    log = dataset.interactions
    rows = rng.permutation(aside)[:CALIBRATION_ROWS]
    users, items = log.users[rows], log.items[rows]
    # What a user met and left is known nowhere; he meets famous items more often, so these are drawn oftener.
    met = np.sqrt(dataset.popularity + 1.0)
    others = rng.choice(len(dataset.catalog), size=len(rows), p=met / met.sum())
    chosen = early.features(users, items)
    view = logistic(np.vstack([chosen, early.features(users, others)]), np.repeat([1.0, 0.0], len(rows)), ridge=1.0)
    ratings = log.ratings[rows]
    rated = np.isfinite(ratings)
    if not rated.any():
        # No ratings: a chosen item is liked as surely as the middle of the chosen ones is chosen.
        rate = view.copy()
        rate[-1] -= float(np.median(chosen @ view[:-1] + view[-1]))
        return view, rate, 1 / (np.sqrt(3) / np.pi)
    wanted = early.scale.standard(users[rated], ratings[rated])
    inputs = np.hstack([chosen[rated], np.ones((int(rated.sum()), 1))])
    rate = np.linalg.solve(inputs.T @ inputs + np.eye(5), inputs.T @ wanted)
    return view, rate, max(float((wanted - inputs @ rate).std()), 0.1)


def logistic(inputs: FloatArray, wanted: FloatArray, *, ridge: float) -> FloatArray:
    """Return the weights of a logistic regression, the constant last, by Newton's method."""
    middle, spread = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-9)
    design = np.hstack([(inputs - middle) / spread, np.ones((len(inputs), 1))])
    weights = np.zeros(design.shape[1])
    penalty = ridge * np.eye(len(weights))
    penalty[-1, -1] = 0
    for _ in range(30):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        slope = design.T @ (chance - wanted) + penalty @ weights
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + penalty + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(bend, slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    plain = weights[:-1] / spread
    return np.append(plain, weights[-1] - plain @ middle)


def _levels(
    dataset: Dataset, items: FloatArray, rate: FloatArray, noise: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, GradeArray]:
    """Return where ratings change on the hidden scale, the ratings, and their grades.

    The cuts lie so that the training rows, rated by the model, have the ratings' real distribution.
    """
    log = dataset.interactions
    known = log.ratings[np.isfinite(log.ratings)]
    if not len(known):
        grades = np.array([Grade.VIEWED, Grade.LIKED], dtype=np.int8)
        return np.zeros(1, np.float32), np.full(2, np.nan, np.float32), grades
    levels, counts = np.unique(_coarse(known), return_counts=True)
    rows = np.flatnonzero(np.isfinite(log.ratings))
    rows = rng.permutation(rows)[:CALIBRATION_ROWS]
    joy = np.einsum("nd,nd->n", rate[log.users[rows]], items[log.items[rows]])
    joy = joy + noise[log.users[rows]] * rng.logistic(scale=np.sqrt(3) / np.pi, size=len(rows))
    cuts = np.quantile(joy, np.cumsum(counts)[:-1] / counts.sum())
    like, dislike = liked_from(known), disliked_to(known)
    grades = np.full(len(levels), Grade.VIEWED, dtype=np.int8)
    grades[levels >= like] = Grade.LIKED
    grades[levels <= dislike] = Grade.DISLIKED
    return cuts.astype(np.float32), levels.astype(np.float32), grades


def _coarse(ratings: FloatArray) -> FloatArray:
    """Return the ratings, rounded to as many steps as a user can tell apart if there are more."""
    low, high = float(ratings.min()), float(ratings.max())
    if len(np.unique(ratings)) <= MOST_LEVELS or low == high:
        return ratings
    step = (high - low) / (MOST_LEVELS - 1)
    return np.round((ratings - low) / step) * step + low


def _patience(lengths: IntArray) -> FloatArray:
    """Return patience by the length of the history, on a log scale: 0 in the middle, 1 a spread above."""
    size = np.log1p(lengths)
    return ((size - size.mean()) / max(float(size.std()), 1e-9)).clip(-2, 2).astype(np.float32)
