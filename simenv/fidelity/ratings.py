"""Do the users rate as the real ones do: in their spread, and item by item?"""

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.dataset import Dataset
from simenv.interactions import Interactions

from .bench import Bench
from .results import Figure, Result, Table, held, result, unmeasured
from .spread import OfWeights, correlation, mean, spread

LEAST = 20  # ratings
MOST_LEVELS = 10
SHOWN_ALIKE = 2.0  # of the variance of the items' counts over their mean; chance alone gives 1


def ratings(bench: Bench) -> Result:
    """Hold the ratings that users would give against the real users' own, held out."""
    log = bench.held_out
    rated = log[np.isfinite(log.ratings)]
    if len(rated) < LEAST:
        return unmeasured("ratings", "the data have no held-out ratings" if not len(rated) else "too few ratings")
    test = bench.split.test
    mine = test[np.isin(test.users, bench.users) & np.isfinite(test.ratings)]
    figures: list[Figure] = []
    tables: list[Table] = []
    if shown_at_random(bench.train, test):
        figures, tables = _against(bench, mine, " of randomly shown items")
    if not figures or len(mine) < len(rated):
        others, other_tables = _against(bench, rated, "")
        figures, tables = others + figures, other_tables + tables
    if not figures:
        return unmeasured("ratings", "these users give no ratings")
    return result("ratings", figures, "rates on the real users' scale, and lower what they rated lower", tables)


def shown_at_random(train: Dataset, rows: Interactions) -> bool:
    """Tell whether rows are of items that chance chose: all are there about equally often."""
    counts = np.bincount(rows.items, minlength=len(train.catalog))
    return bool(len(rows) and counts.mean() >= 5 and counts.var() < SHOWN_ALIKE * counts.mean())


def _against(bench: Bench, rows: Interactions, where: str) -> tuple[list[Figure], list[Table]]:
    count, users = len(bench.users), bench.places[rows.users]
    told = bench.judge(rows.users, rows.items)
    given = np.isfinite(told.ratings) & np.isfinite(told.expected)
    if given.sum() < LEAST:
        return [], []
    real, drawn, expected, of = rows.ratings[given], told.ratings[given], told.expected[given], users[given]
    levels = _levels(np.concatenate([bench.train.interactions.ratings, real]))
    mine, theirs = (_counts(levels, one, of, count) for one in (drawn, real))
    means = _user_means(bench.train)[bench.users[of]]
    ranks = _ranks(expected), _ranks(real)
    error, usual = (_error(one - real, of, count) for one in (expected, means))
    figures = [
        held(bench.limits, "ratings.js", f"Jensen-Shannon divergence{where}, bits", spread(_js(mine, theirs), count)),
        held(bench.limits, "ratings.tv", f"total variation{where}", spread(_tv(mine, theirs), count)),
        held(
            bench.limits,
            "ratings.rmse",
            f"RMSE{where}, over that of each user's own mean",
            spread(lambda weights: error(weights) / np.maximum(usual(weights), 1e-9), count),
        ),
        held(bench.limits, "ratings.rank", f"rank correlation{where}", spread(correlation(*ranks, of), count)),
        Figure(f"RMSE{where}", spread(error, count)),
        Figure(f"RMSE of each user's own mean{where}", spread(usual, count)),
        Figure(f"share of items rated{where}", spread(mean(given.astype(float)), len(given))),
    ]
    shares = [one.sum(axis=0) / one.sum() for one in (theirs, mine)]
    rows_of = tuple(
        (f"{level:g}", float(a), float(b)) for level, a, b in zip(levels.tolist(), *map(list, shares), strict=True)
    )
    return figures, [Table(f"How often each rating is given{where}", ("rating", "real users", "these users"), rows_of)]


def _levels(values: FloatArray) -> FloatArray:
    """Return the ratings there are, or as many steps as can be told apart."""
    known = np.unique(values[np.isfinite(values)])
    return known if len(known) <= MOST_LEVELS else np.linspace(known[0], known[-1], MOST_LEVELS)


def _counts(levels: FloatArray, values: FloatArray, users: IntArray, count: int) -> FloatArray:
    """Return how often each user gave each rating: [U, L]."""
    nearest = np.abs(values[:, None] - levels).argmin(axis=1)
    found = np.zeros((count, len(levels)))
    np.add.at(found, (users, nearest), 1)
    return found


def _js(mine: FloatArray, theirs: FloatArray) -> OfWeights:
    def found(weights: FloatArray) -> FloatArray:
        one, other = (_normal(weights @ part) for part in (mine, theirs))
        middle = (one + other) / 2
        return (_divergence(one, middle) + _divergence(other, middle)) / 2

    return found


def _tv(mine: FloatArray, theirs: FloatArray) -> OfWeights:
    return lambda weights: np.abs(_normal(weights @ mine) - _normal(weights @ theirs)).sum(axis=1) / 2


def _normal(counts: FloatArray) -> FloatArray:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)


def _divergence(one: FloatArray, other: FloatArray) -> FloatArray:
    return np.where(one > 0, one * np.log2(np.maximum(one, 1e-12) / np.maximum(other, 1e-12)), 0).sum(axis=1)


def _error(gap: FloatArray, users: IntArray, count: int) -> OfWeights:
    squares, number = np.bincount(users, gap**2, count), np.bincount(users, minlength=count)
    return lambda weights: np.sqrt((weights @ squares) / np.maximum(weights @ number, 1e-12))


def _user_means(train: Dataset) -> FloatArray:
    """Return each user's mean training rating; that of all for who gave none."""
    log = train.interactions
    known = np.isfinite(log.ratings)
    total = np.bincount(log.users[known], log.ratings[known], len(train.users))
    number = np.bincount(log.users[known], minlength=len(train.users))
    middle = float(log.ratings[known].mean()) if known.any() else 0.0
    return np.where(number > 0, total / np.maximum(number, 1), middle)


def _ranks(values: FloatArray) -> FloatArray:
    """Return each value's rank among all, from -1 to 1; equals share theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - (counts - 1) / 2)[place] * 2 / len(values) - 1).astype(np.float64)
