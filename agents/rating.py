"""How high users rate what they chose: their own scale, the item's quality, their taste, and the level it falls to.

A rating lies on a hidden scale: the user's usual rating (his last ratings count more), the item's quality, his taste
for what is written about items, and his taste as it shows in who else rated alike. Around that his ratings scatter as
his own did, and where one level ends and the next begins is set so that the ratings of the last fifth of the
histories of half of the users, foretold from the rest, are distributed as they were. The other half can then tell
whether that is so.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit

from simenv.algebra import eigen, orthonormal, solve_each
from simenv.arrays import BoolArray, FloatArray, GradeArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset, disliked_to, liked_from
from simenv.pages import Grade
from simenv.products import product
from simenv.text import TfidfEncoder

from .calibration import LAST

ALIKE, TEXTS, WIDTH = 8, 32, 12  # dimensions: of those who rate alike, of texts, of both once put together
USUAL, QUALITY, TEXT, TASTE = 5.0, 5.0, 3.0, 10.0  # ratings' worth of doubt about each part
SHRINK = 10.0  # the same about a user's scatter
HALF = 200.0  # ratings after which one counts half
ROUNDS = 8
MOST_LEVELS = 20  # of ratings
LEAST_SCATTER = 0.1
LOGISTIC = float(np.sqrt(3) / np.pi)  # makes logistic noise of unit variance
BLOCK = 4096  # users or items solved for at once


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings on a hidden scale, and the levels that they fall to."""

    users: FloatArray  # [U, E], times an item: the rating on the hidden scale
    items: FloatArray  # [I, E]
    scatter: FloatArray  # [U], of a rating around that
    cuts: FloatArray  # [L - 1], where one level ends and the next begins
    levels: FloatArray  # [L]
    grades: GradeArray  # [L], the grade that goes with each

    def of(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return each pair's place on the hidden scale."""
        return np.asarray(np.einsum("nd,nd->n", self.users[users], self.items[items]))


def learn_ratings(dataset: Dataset, seed: int) -> Ratings:
    """Learn from four fifths of the histories and set the levels by the rest of half of them; then learn from all."""
    log = dataset.interactions
    rated = dataset.only(log[np.isfinite(log.ratings)])
    log = rated.interactions
    late = last_rows(rated)
    last = late & np.isin(log.users, level_users(dataset, seed))
    texts = TfidfEncoder(TEXTS).encode(dataset.catalog)
    texts = texts[:, texts.any(axis=0)]
    users, items, scatter = _learnt(rated.only(log[~late]), texts)
    held = log[last]
    hidden = np.einsum("nd,nd->n", users[held.users], items[held.items])
    misses = float(np.sqrt((((held.ratings - hidden) / scatter[held.users]) ** 2).mean()))
    rounded = coarse(log.ratings.astype(np.float64))
    levels = np.unique(rounded)
    shares = np.array([(rounded[last] == level).sum() for level in levels]) + 1e-3  # a level may be missing there
    spread = misses * scatter[held.users] * LOGISTIC
    drawn = hidden + spread * stream(seed, "rating").logistic(size=len(hidden))
    cuts = np.quantile(drawn, np.cumsum(shares)[:-1] / shares.sum())
    users, items, scatter = _learnt(rated, texts)
    return Ratings(users, items, misses * scatter, cuts, levels, level_grades(log.ratings, levels))


def level_users(dataset: Dataset, seed: int) -> IntArray:
    """Return the users by whose last ratings the levels are set: half of those who have any, drawn at random."""
    log = dataset.interactions
    rated = dataset.only(log[np.isfinite(log.ratings)])
    if not len(rated.interactions):
        return np.zeros(0, dtype=np.int64)
    users = np.unique(rated.interactions.users[last_rows(rated)])
    return np.sort(stream(seed, "rating levels").permutation(users)[: (len(users) + 1) // 2])


def last_rows(rated: Dataset) -> BoolArray:
    """Tell which rows are of the last fifth of a history; every fifth row where no history is long enough."""
    log = rated.interactions
    last: BoolArray = log.places(len(rated.users)) >= np.floor(np.diff(rated.starts) * LAST + 1e-9)[log.users]
    return np.arange(len(log)) % 5 == 4 if last.all() or not last.any() else last


def expected(hidden: FloatArray, scatter: FloatArray, cuts: FloatArray, levels: FloatArray) -> FloatArray:
    """Return the mean rating of each place on the hidden scale, by the scatter around it."""
    mean = np.full(len(hidden), levels[0], dtype=np.float64)
    for cut, step in zip(cuts, np.diff(levels), strict=True):
        mean += step * expit((hidden - cut) / (scatter * LOGISTIC))
    return mean


def level_grades(ratings: FloatArray, levels: FloatArray) -> GradeArray:
    """Return the grade that goes with each level of these ratings."""
    grades = np.full(len(levels), Grade.VIEWED, dtype=np.int8)
    grades[levels >= liked_from(ratings)] = Grade.LIKED
    grades[levels <= disliked_to(ratings)] = Grade.DISLIKED
    return grades


def coarse(ratings: FloatArray) -> FloatArray:
    """Return the ratings, rounded to as many steps as a user can tell apart if there are more."""
    low, high = float(ratings.min()), float(ratings.max())
    if len(np.unique(ratings)) <= MOST_LEVELS or low == high:
        return ratings
    step = (high - low) / (MOST_LEVELS - 1)
    return np.asarray(np.round((ratings - low) / step) * step + low)


def _learnt(rated: Dataset, texts: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return user and item vectors whose products are ratings, and each user's scatter around them."""
    log, user_count, item_count = rated.interactions, len(rated.users), len(rated.catalog)
    middle = float(log.ratings.mean())
    unit = max(float(log.ratings.std()), 1e-3)
    ratings = (log.ratings.astype(np.float64) - middle) / unit
    age = rated.starts[log.users + 1] - 1 - np.arange(len(log))
    weight = 0.5 ** (age / HALF)
    ones = np.ones(len(log))
    no_user, no_item = np.zeros((user_count, 0)), np.zeros((item_count, 0))
    usual: FloatArray = np.zeros(user_count)
    quality: FloatArray = np.zeros(item_count)
    for _ in range(ROUNDS):
        quality = _solve(log.items, log.users, no_user, ratings - usual[log.users], ones, item_count, 0, QUALITY)[1]
        usual = _solve(log.users, log.items, no_item, ratings - quality[log.items], weight, user_count, 0, USUAL)[1]
    rest = ratings - quality[log.items]
    by_text, usual = _solve(log.users, log.items, texts, rest, weight, user_count, TEXT, USUAL)
    told = ratings - np.einsum("nd,nd->n", by_text[log.users], texts[log.items])
    alike: FloatArray = 0.1 * stream(0, "alike").normal(size=(item_count, min(ALIKE, user_count, item_count)))
    for _ in range(ROUNDS):
        rest = told - quality[log.items]
        taste, usual = _solve(log.users, log.items, alike, rest, weight, user_count, TASTE, USUAL)
        alike, quality = _solve(log.items, log.users, taste, told - usual[log.users], ones, item_count, TASTE, QUALITY)
    rest = told - quality[log.items]
    taste, usual = _solve(log.users, log.items, alike, rest, weight, user_count, TASTE, USUAL)
    users, items = folded(np.hstack([by_text, taste]), np.hstack([texts, alike]), WIDTH)
    users = unit * np.hstack([users, np.ones((user_count, 1)), usual[:, None] + middle / unit])
    items = np.hstack([items, quality[:, None], np.ones((item_count, 1))])
    misses = log.ratings - np.einsum("nd,nd->n", users[log.users], items[log.items])
    spread = max(float(np.sqrt((misses**2).mean())), LEAST_SCATTER * unit)
    count = np.bincount(log.users, minlength=user_count)
    squares = np.bincount(log.users, misses**2, user_count)
    return users, items, np.sqrt((squares + SHRINK * spread**2) / (count + SHRINK))


def _solve(
    rows: IntArray, columns: IntArray, vectors: FloatArray, wanted: FloatArray, weight: FloatArray, count: int,
    doubt: float, level_doubt: float,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Return for each row the ridge regression of what it wants on the columns' vectors [count, D], and its level."""
    design = np.hstack([vectors, np.ones((len(vectors), 1))])
    width = design.shape[1]
    pairs = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    shape = (count, len(design))
    weights = sparse.csr_array((weight, (rows, columns)), shape=shape)
    sums = sparse.csr_array((weight * wanted, (rows, columns)), shape=shape) @ design
    found = np.empty((count, width))
    prior = np.diag(np.append(np.full(width - 1, doubt), level_doubt))
    for begin in range(0, count, BLOCK):
        block = slice(begin, min(begin + BLOCK, count))
        gram = (weights[block] @ pairs).reshape(-1, width, width) + prior
        found[block] = solve_each(gram, sums[block])
    return found[:, :-1], found[:, -1]


def folded(users: FloatArray, items: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
    """Return vectors of at most this width whose products are as near to the given ones' as can be."""
    if users.shape[1] <= width:
        return users, items
    left, right = orthonormal(users), orthonormal(items)
    between = product(product(left.T, users), product(right.T, items).T)
    _, axes = eigen(product(between.T, between))
    axes = axes[:, ::-1][:, :width]  # those of the greatest singular values
    return product(left, product(between, axes)), product(right, axes)
