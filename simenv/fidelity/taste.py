"""Do the users want what the real ones chose, and not what they never met?"""

from copy import copy
from typing import NamedTuple

import numpy as np

from simenv.arrays import BoolArray, FloatArray, IntArray
from simenv.chance import stream
from simenv.judgement import Judgement

from .bench import Bench
from .results import Cell, Figure, Result, Table, held, result, unmeasured
from .rivals import Rival, rivals_of
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
    count = len(bench.users)
    rivals = rivals_of(bench.train)
    for kind, others in kinds.items():
        found = _Answers(bench, trial, others)
        simple = {one.name: found.of(one) for one in rivals}
        tables += [found.table(kind), _beside(kind, found, simple)]
        name = "taste.auc" if kind == "random" else "taste.auc_matched"
        within = mean(found.per_user_auc)
        figures.append(
            held(bench.limits, name, f"AUC for each user, against {_words(kind)} items", spread(within, count))
        )
        if kind == "random":
            balanced = spread(found.balanced(1), count)
            figures.append(held(bench.limits, "taste.balanced", "balanced accuracy, 1:1", balanced))
        for label, one in simple.items():
            figures += _leads(bench, kind, label, found, one)
        if kind == "random":
            figures.append(Figure("true positives", spread(found.yes(0, 1), count)))
            figures.append(Figure("false positives, 1:1", spread(found.yes(1, 2), count)))
    good = f"tells held-out items from others with an AUC of {figures[0].value.mean:.2f}"
    return result("taste", figures, good, tables)


def _leads(bench: Bench, kind: str, label: str, found: "_Answers", rival: "_Answers") -> list[Figure]:
    """Return what a trivial predictor comes to on the same cases, and how far users lead, paired by user."""
    count, items = len(bench.users), f"{_words(kind)} items"
    within, theirs = mean(found.per_user_auc), mean(rival.per_user_auc)
    pooled, pooled_theirs = found.area(max(RATIOS)), rival.area(max(RATIOS))
    right, right_theirs = found.balanced(1), rival.balanced(1)
    figures = [
        Figure(f"AUC for each user of {label}, {items}", spread(theirs, count)),
        Figure(f"pooled AUC of {label}, {items}", spread(pooled_theirs, count)),
        Figure(f"pooled AUC less that of {label}, {items}", spread(_less(pooled, pooled_theirs), count)),
        Figure(f"balanced accuracy of {label}, {items}", spread(right_theirs, count)),
    ]
    ahead = spread(_less(within, theirs), count), spread(_less(right, right_theirs), count)
    names = f"AUC for each user less that of {label}, {items}", f"balanced accuracy less that of {label}, {items}"
    if kind != "random":  # popularity is drawn out of these cases
        return figures + [Figure(name, value) for name, value in zip(names, ahead, strict=True)]
    limits = "taste.auc_lead", "taste.lead"
    return figures + [held(bench.limits, *one) for one in zip(limits, names, ahead, strict=True)]


def _less(one: OfWeights, other: OfWeights) -> OfWeights:
    return lambda weights: one(weights) - other(weights)


def _beside(kind: str, found: "_Answers", simple: "dict[str, _Answers]") -> Table:
    """Return users and trivial predictors, scored by the same code on the same cases."""
    one = np.ones((1, found.count))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            label,
            *(float(figure(one)[0]) for figure in (mean(some.per_user_auc), some.area(max(RATIOS)), some.balanced(1))),
        )
        for label, some in {"these users": found, **simple}.items()
    )
    heads = ("predictor", "AUC within users", "AUC, pooled", "balanced accuracy, 1:1")
    return Table(f"Beside trivial predictors, {_words(kind)} items", heads, rows)


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
        self.who = bench.users[self.users]

    def of(self, rival: Rival) -> "_Answers":
        """Return what a trivial predictor makes of the very cases that these users answered."""
        found = copy(self)
        found.wanted = np.where(self.known, rival.score(self.who, np.maximum(self.items, 0)), np.nan)
        found.chosen = self.known & (found.wanted >= rival.threshold)
        return found

    @property
    def per_user_auc(self) -> FloatArray:
        """Each user's chance to want his own items more than the others: [U]."""
        known = self.known
        return auc_per_user(self.wanted[known], self._own[known], self.users[known], self.count)

    @property
    def _own(self) -> BoolArray:
        return np.broadcast_to(np.arange(self.items.shape[1]) == 0, self.items.shape)

    def area(self, ratio: int) -> OfWeights:
        """Return the pooled AUC at a ratio."""
        known = self.known[:, : ratio + 1]
        cut = (part[:, : ratio + 1][known] for part in (self.wanted, self._own, self.users))
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
