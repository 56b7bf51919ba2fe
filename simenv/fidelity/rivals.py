"""Trivial predictors that stand beside users: popularity, and user mean plus item mean, both of training rows alone."""

from dataclasses import dataclass

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset, liked_from

DOUBT = 5.0  # ratings' worth of doubt about a mean
LAST = 4  # liked training rows of each user by which a threshold is set
ROWS = 100_000  # of them at most
POPULARITY, TWO_MEANS = "popularity", "user mean + item mean"


@dataclass(frozen=True, eq=False)
class Rival:
    """A predictor that scores a pair of user and item without knowing anything of both together."""

    name: str
    of_user: FloatArray  # [U]
    of_item: FloatArray  # [I]
    threshold: float  # from which on it says yes

    def score(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return the score of each user and item beside them."""
        return np.asarray(self.of_user[users] + self.of_item[items])


def rivals_of(train: Dataset) -> list[Rival]:
    """Return the predictors that the training rows admit: both, or popularity alone where nothing is rated.

    The threshold of each is the one that parts the latest liked training rows best from as many items drawn from
    those never met; no held-out row is seen.
    """
    fame = train.popularity.astype(np.float64)
    found = [_with_threshold(train, POPULARITY, np.zeros(len(train.users)), fame, own=1.0)]
    if np.isfinite(train.interactions.ratings).any():
        found.append(_with_threshold(train, TWO_MEANS, *two_means(train)))
    return found


def two_means(train: Dataset) -> tuple[FloatArray, FloatArray]:
    """Return what each user [U] and each item [I] adds: the sum of both is the rating foretold."""
    log = train.interactions
    known = np.isfinite(log.ratings)
    ratings = log.ratings[known].astype(np.float64)
    middle = float(ratings.mean())
    user = shrunk_mean(log.users[known], ratings, len(train.users))
    item = shrunk_mean(log.items[known], ratings, len(train.catalog))
    return user, item - middle


def shrunk_mean(rows: IntArray, values: FloatArray, count: int, doubt: float = DOUBT) -> FloatArray:
    """Return each row's mean [count], drawn to the mean of all by this many values' worth of doubt."""
    middle = float(values.mean())
    size = np.bincount(rows, minlength=count) + max(doubt, 1e-9)
    return np.asarray(middle + np.bincount(rows, values - middle, count) / size)


def best_threshold(own: FloatArray, others: FloatArray) -> float:
    """Return the score from which on a yes is right most often, own and other items counting alike."""
    scores = np.unique(np.concatenate([own, others]))
    true = 1 - np.searchsorted(np.sort(own), scores) / len(own)
    false = 1 - np.searchsorted(np.sort(others), scores) / len(others)
    return float(scores[np.argmax(true - false)])


def _with_threshold(train: Dataset, name: str, user: FloatArray, item: FloatArray, own: float = 0.0) -> Rival:
    """Set the threshold; `own` is what a training row itself adds to the score of its item."""
    log = train.interactions
    liked = log[~(log.ratings < liked_from(log.ratings))]
    from_end = np.searchsorted(liked.users, liked.users, side="right") - 1 - np.arange(len(liked))
    rng = stream(0, "fidelity", "rivals")
    rows = rng.permutation(np.flatnonzero(from_end < LAST))[:ROWS]
    users, items = liked.users[rows], liked.items[rows]
    drawn = rng.integers(len(train.catalog), size=len(users))
    pairs = log.users.astype(np.int64) * len(train.catalog) + log.items
    unmet = ~np.isin(users.astype(np.int64) * len(train.catalog) + drawn, pairs)
    if not unmet.any():
        return Rival(name, user, item, -np.inf)
    threshold = best_threshold(user[users] + item[items] - own, user[users[unmet]] + item[drawn[unmet]])
    return Rival(name, user, item, threshold)
