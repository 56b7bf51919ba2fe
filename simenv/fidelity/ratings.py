"""Do the users rate as the real ones do: in their spread, and item by item?"""

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.dataset import Dataset, liked_from
from simenv.interactions import Interactions

from .bench import Bench
from .results import Cell, Figure, Result, Table, held, result, unmeasured
from .rivals import POPULARITY, TWO_MEANS, shrunk_mean, two_means
from .spread import OfWeights, auc, auc_per_user, correlation, mean, spread

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
    told = bench.judge(rows.users, rows.items)
    given = np.isfinite(told.ratings) & np.isfinite(told.expected)
    if given.sum() < LEAST:
        return [], []
    real, drawn, expected = rows.ratings[given].astype(np.float64), told.ratings[given], told.expected[given]
    figures, table = _distribution(bench, real, drawn, rows[given], where)
    more, beside = _item_by_item(bench, real, expected, rows[given], where)
    share = Figure(f"share of items rated{where}", spread(mean(given.astype(float)), len(given)))
    return [*figures, *more, share], [table, beside]


def _distribution(
    bench: Bench, real: FloatArray, drawn: FloatArray, rows: Interactions, where: str
) -> tuple[list[Figure], Table]:
    """Return how often each rating is given, by users none of whose rows set the levels, and by trivial predictors."""
    train, count = bench.train, len(bench.users)
    apart = np.ones(len(rows), dtype=bool) if bench.level_users is None else ~np.isin(rows.users, bench.level_users)
    if apart.sum() < LEAST:
        apart[:] = True
        whom = ", users whose rows set the levels among them"
    else:
        whom = "" if bench.level_users is None else ", users whose rows set no levels"
    rows, of = rows[apart], bench.places[rows.users[apart]]
    levels = _levels(np.concatenate([train.interactions.ratings, real]))
    user, item = two_means(train)
    by_means = user[rows.users] + item[rows.items]
    theirs, mine, flat = (_counts(levels, one, of, count) for one in (real[apart], drawn[apart], by_means))
    past = _past(train, levels)[bench.users] * np.bincount(of, minlength=count)[:, None]
    name = f"{where}{whom}"
    figures = [
        held(bench.limits, "ratings.js", f"Jensen-Shannon divergence, bits{name}", spread(_js(mine, theirs), count)),
        held(bench.limits, "ratings.tv", f"total variation{name}", spread(_tv(mine, theirs), count)),
        Figure(f"Jensen-Shannon divergence of {TWO_MEANS}, bits{name}", spread(_js(flat, theirs), count)),
        Figure(f"Jensen-Shannon divergence of own training ratings, bits{name}", spread(_js(past, theirs), count)),
        Figure(f"total variation of {TWO_MEANS}{name}", spread(_tv(flat, theirs), count)),
        Figure(f"total variation of each user's training ratings{name}", spread(_tv(past, theirs), count)),
    ]  # fmt: skip
    shares = [one.sum(axis=0) / one.sum() for one in (theirs, mine, flat, past)]
    told: tuple[tuple[Cell, ...], ...] = tuple(
        (f"{level:g}", *map(float, cells)) for level, cells in zip(levels, np.stack(shares, 1), strict=True)
    )
    heads = ("rating", "real users", "these users", TWO_MEANS, "each user's training ratings")
    return figures, Table(f"How often each rating is given{name}", heads, told)


def _item_by_item(
    bench: Bench, real: FloatArray, expected: FloatArray, rows: Interactions, where: str
) -> tuple[list[Figure], Table]:
    """Return how near the expected ratings come to the real ones, and the trivial predictors on the same rows."""
    train, count, of = bench.train, len(bench.users), bench.places[rows.users]
    user, item = two_means(train)
    own = _user_means(train)[rows.users]
    guesses = {
        "these users": expected,
        TWO_MEANS: user[rows.users] + item[rows.items],
        POPULARITY: train.popularity[rows.items].astype(np.float64),
    }
    good = real >= liked_from(train.interactions.ratings)
    areas = {label: auc(guess, good, of) for label, guess in guesses.items()}
    within = {label: mean(auc_per_user(guess, good, of, count)) for label, guess in guesses.items()}
    ranks = {label: correlation(_ranks(guess), _ranks(real), of) for label, guess in guesses.items()}
    error, usual, simple = (_error(one - real, of, count) for one in (expected, own, guesses[TWO_MEANS]))
    figures = [
        held(
            bench.limits,
            "ratings.rmse",
            f"RMSE over that of {TWO_MEANS}{where}",
            spread(lambda weights: error(weights) / np.maximum(simple(weights), 1e-9), count),
        ),
        held(bench.limits, "ratings.rank", f"rank correlation{where}", spread(ranks["these users"], count)),
        Figure(f"rank correlation of {TWO_MEANS}{where}", spread(ranks[TWO_MEANS], count)),
        Figure(f"RMSE{where}", spread(error, count)),
        Figure(f"RMSE of {TWO_MEANS}{where}", spread(simple, count)),
        Figure(f"RMSE of each user's own mean{where}", spread(usual, count)),
    ]
    if 0 < good.sum() < len(good):
        for label in guesses:
            whose = "" if label == "these users" else f" of {label}"
            figures.append(Figure(f"pooled AUC{whose}, liked against rated lower{where}", spread(areas[label], count)))
            figures.append(
                Figure(f"AUC within users{whose}, liked against rated lower{where}", spread(within[label], count))
            )
            if label != "these users":
                lead = spread(_less(areas["these users"], areas[label]), count)
                inner = spread(_less(within["these users"], within[label]), count)
                name = f"pooled AUC less that of {label}, liked against rated lower{where}"
                figures.append(held(bench.limits, "ratings.lead", name, lead))
                name = f"AUC within users less that of {label}, liked against rated lower{where}"
                figures.append(held(bench.limits, "ratings.lead_within", name, inner))
    one = np.ones((1, count))
    errors = {"these users": error, TWO_MEANS: simple}
    table: tuple[tuple[Cell, ...], ...] = tuple(
        (
            label,
            float(areas[label](one)[0]),
            float(within[label](one)[0]),
            float(ranks[label](one)[0]),
            float(errors[label](one)[0]) if label in errors else None,
        )
        for label in guesses
    )
    heads = ("predictor", "AUC, pooled", "AUC within users", "rank correlation", "RMSE")
    return figures, Table(f"Liked against rated lower, beside trivial predictors{where}", heads, table)


def _less(one: OfWeights, other: OfWeights) -> OfWeights:
    return lambda weights: one(weights) - other(weights)


def _past(train: Dataset, levels: FloatArray) -> FloatArray:
    """Return how each user's training ratings are distributed [U, L]; as those of all for who gave none."""
    log = train.interactions
    known = np.isfinite(log.ratings)
    counts = _counts(levels, log.ratings[known].astype(np.float64), log.users[known], len(train.users))
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), counts.sum(axis=0) / max(counts.sum(), 1))


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
    return shrunk_mean(log.users[known], log.ratings[known].astype(np.float64), len(train.users), 0.0)


def _ranks(values: FloatArray) -> FloatArray:
    """Return each value's rank among all, from -1 to 1; equals share theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - (counts - 1) / 2)[place] * 2 / len(values) - 1).astype(np.float64)
