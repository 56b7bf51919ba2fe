"""Do the users want what the real ones chose, and not what they never met?"""

from typing import NamedTuple

import numpy as np

from simenv.arrays import BoolArray, FloatArray, IntArray
from simenv.chance import stream
from simenv.judgement import Judgement

from .bench import Bench
from .results import Figure, Result, Table, held, result, unmeasured
from .spread import OfWeights, auc, auc_per_user, mean, share, spread

RATIOS = (1, 3, 9)
MOST = 4  # held-out items a user
NEAR = 50  # items to either side in the order of fame are as famous


class Trial(NamedTuple):
    """Items that users really chose, each followed by others that they never met."""

    users: IntArray  # [P], by their place on the bench
    items: IntArray  # [P]
    strangers: IntArray  # [P, 9], drawn from all
    alike: IntArray  # [P, 9], drawn from those as well known


def taste(bench: Bench) -> Result:
    """Hold liked items of the held-out rows against items never met, 1 to 1, 3 and 9."""
    trial = trial_of(bench)
    if len(np.unique(trial.users)) < 2:
        return unmeasured("taste", "too few users have held-out items that they liked")
    kinds = {"random": trial.strangers, "as well known": trial.alike}
    tables, figures = [], []
    for kind, others in kinds.items():
        found = _Answers(bench, trial, others)
        tables.append(found.table(kind))
        name = "taste.auc" if kind == "random" else "taste.auc_matched"
        own = spread(mean(found.per_user_auc), len(bench.users))
        figures.append(held(bench.limits, name, f"AUC for each user, against {_words(kind)} items", own))
        if kind == "random":
            balanced = spread(found.balanced(1), len(bench.users))
            figures.append(held(bench.limits, "taste.balanced", "balanced accuracy, 1:1", balanced))
            figures.append(Figure("true positives", spread(found.yes(0, 1), len(bench.users))))
            figures.append(Figure("false positives, 1:1", spread(found.yes(1, 2), len(bench.users))))
            fame = found.area(9, bench.train.popularity.astype(float))
            figures.append(Figure("AUC by fame alone, 1:9", spread(fame, len(bench.users))))
    good = f"tells held-out items from others with an AUC of {figures[0].value.mean:.2f}"
    return result("taste", figures, good, tables)


class _Answers:
    """What users made of their items and of as many others."""

    def __init__(self, bench: Bench, trial: Trial, others: IntArray) -> None:
        self.count = len(bench.users)
        self.items = np.hstack([trial.items[:, None], others])
        self.users = np.broadcast_to(trial.users[:, None], self.items.shape)
        there = self.items >= 0
        self.wanted = np.full(self.items.shape, np.nan)
        self.wanted[there] = bench.judge(bench.users[self.users[there]], self.items[there]).wanted
        self.known = np.isfinite(self.wanted)
        self.chosen = self.known & Judgement(self.wanted, self.wanted, self.wanted).chosen

    @property
    def per_user_auc(self) -> FloatArray:
        """Each user's chance to want his own items more than the others: [U]."""
        known = self.known
        return auc_per_user(self.wanted[known], self._own[known], self.users[known], self.count)

    @property
    def _own(self) -> BoolArray:
        return np.broadcast_to(np.arange(self.items.shape[1]) == 0, self.items.shape)

    def area(self, ratio: int, by_item: FloatArray | None = None) -> OfWeights:
        """Return the pooled AUC at a ratio, or that of a value of the items."""
        known = self.known[:, : ratio + 1]
        scores = self.wanted if by_item is None else by_item[self.items]
        cut = (part[:, : ratio + 1][known] for part in (scores, self._own, self.users))
        return auc(*cut)

    def yes(self, first: int, last: int) -> OfWeights:
        """Return how often users say yes to the items in these columns."""
        return share(self._sum(self.chosen, first, last), self._sum(self.known, first, last))

    def balanced(self, ratio: int) -> OfWeights:
        """Return the mean of the shares of right answers to own and to other items."""
        true, false = self.yes(0, 1), self.yes(1, ratio + 1)
        return lambda weights: (true(weights) + 1 - false(weights)) / 2

    def _sum(self, what: BoolArray, first: int, last: int) -> FloatArray:
        return np.bincount(self.users[:, 0], what[:, first:last].sum(axis=1), self.count).astype(float)

    def table(self, kind: str) -> Table:
        """Return all figures at every ratio, with those of who always says yes."""
        rows = []
        one = np.ones((1, self.count))
        for ratio in RATIOS:
            true, false = (float(self.yes(*cut)(one)[0]) for cut in ((0, 1), (1, ratio + 1)))
            said = true + ratio * false
            precision = true / said if said else float("nan")
            f1 = 2 * true / (said + 1) if said else 0.0
            area = float(self.area(ratio)(one)[0])
            always = 2 / (ratio + 2)
            rows.append((f"1:{ratio}", true, false, (true + 1 - false) / 2, precision, f1, always, area))
        heads = ("ratio", "true pos.", "false pos.", "balanced", "precision", "F1", "F1, always yes", "AUC, pooled")
        return Table(f"Held-out items against {_words(kind)} ones", heads, tuple(rows))


def _words(kind: str) -> str:
    return "random" if kind == "random" else "equally well-known"


def trial_of(bench: Bench) -> Trial:
    """Draw each user's latest held-out liked items, and nine others beside each of both kinds."""
    train, log = bench.train, bench.liked
    from_end = np.searchsorted(log.users, log.users, side="right") - 1 - np.arange(len(log))
    rows = np.flatnonzero(from_end < MOST)
    users = bench.places[log.users[rows]]
    rng = stream(bench.seed, "fidelity", "taste")
    order = np.lexsort((rng.random(len(train.catalog)), train.popularity))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    strangers, alike = (np.full((len(rows), max(RATIOS)), -1, dtype=np.int64) for _ in range(2))
    for row, (user, item) in enumerate(zip(users.tolist(), log.items[rows].tolist(), strict=True)):
        near = order[max(0, rank[item] - NEAR) : rank[item] + NEAR + 1]
        some = rng.choice(len(order), size=min(len(order), 40), replace=False)
        for found, pool in ((strangers, some), (alike, rng.permutation(near))):
            drawn = pool[~np.isin(pool, bench.met[user])][: max(RATIOS)]
            found[row, : len(drawn)] = drawn
    return Trial(users, log.items[rows], strangers, alike)
