"""How far do titles and texts move the users' decisions, apart from what the items are?"""

from dataclasses import replace

import numpy as np

from simenv.arrays import FloatArray, IntArray, WordArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.judgement import Judgement
from simenv.population import Population

from .bench import Bench
from .results import Figure, Result, Table, held, result, unmeasured
from .spread import auc_per_user, mean, spread
from .taste import Trial, trial_of

BESIDE = 2  # others beside each item of his own
SYLLABLES = ("ba", "do", "fe", "gi", "ka", "lu", "mo", "ne", "pi", "ra", "so", "ti", "vu", "za")


def cues(bench: Bench) -> Result:
    """Mask titles, invent them, swap descriptions, hide mean ratings: and see which decisions change."""
    if bench.refit is None or bench.refits < 1:
        return unmeasured("cues", "it takes too long to fit these users to other texts")
    pairs = _Pairs(bench, trial_of(bench))
    before = pairs.judge(bench.population)
    if not np.isfinite(before.wanted).any():
        return unmeasured("cues", "too few users have held-out items that they liked")
    figures, rows = [], []
    count = len(bench.users)
    for name, population in _changed(bench).items():
        after = pairs.judge(population)
        known = np.isfinite(before.wanted) & np.isfinite(after.wanted)
        flips, moved = (np.full(len(known), np.nan) for _ in range(2))
        flips[known] = (before.chosen != after.chosen)[known]
        moved[known] = np.abs(before.wanted - after.wanted)[known]
        by_user = spread(mean(pairs.per_user(flips)), count)
        decided = f"decisions changed, {name}"
        figures.append(
            held(bench.limits, "cues.titles", decided, by_user) if "titles" in name else Figure(decided, by_user)
        )
        rows.append((name, float(np.nanmean(flips)), float(np.nanmean(moved)), pairs.auc(after)))
    told = [row[1] for row in rows if "titles" in str(row[0])]
    reads = "does not read titles" if not any(told) else "decides by more than the titles"
    first = ("as they are", 0.0, 0.0, pairs.auc(before))
    heads = ("texts", "decisions changed", "chance moved by", "AUC for each user")
    return result("cues", figures, reads, [Table("With other texts", heads, (first, *rows))])


def _changed(bench: Bench) -> dict[str, Population]:
    """Return populations like the one on the bench, fitted to the same rows with other texts; what tells most first."""
    train, catalog = bench.train, bench.train.catalog
    count = len(catalog)
    rng = stream(bench.seed, "fidelity", "cues")
    texts: dict[str, Dataset] = {}
    if any(catalog.titles):
        masked = np.full(count, None, dtype=object)
        texts["titles masked"] = replace(train, catalog=replace(catalog, titles=masked))
    if any(catalog.descriptions):
        swapped = catalog.descriptions[rng.permutation(count)]
        texts["descriptions swapped"] = replace(train, catalog=replace(catalog, descriptions=swapped))
    if any(catalog.titles):
        texts["titles invented"] = replace(train, catalog=replace(catalog, titles=_invented(count, rng)))
    found: dict[str, Population] = {}
    if bench.unrated is not None:
        found["mean ratings hidden"] = bench.refitted(train, bench.unrated)
    some = list(texts.items())[: bench.refits]
    return {name: bench.refitted(changed) for name, changed in some} | found


def _invented(count: int, rng: np.random.Generator) -> WordArray:
    """Return made-up titles."""
    words = rng.choice(SYLLABLES, size=(count, 5))
    return np.array([f"{''.join(word[:3])} {''.join(word[3:])}".title() for word in words], dtype=object)


class _Pairs:
    """Users and items: some that they chose, and others beside."""

    def __init__(self, bench: Bench, trial: Trial) -> None:
        self.bench = bench
        items = np.hstack([trial.items[:, None], trial.strangers[:, :BESIDE]])
        users = np.broadcast_to(trial.users[:, None], items.shape)
        there = items >= 0
        self.items, self.places = items[there], users[there]
        self.is_own = (np.broadcast_to(np.arange(items.shape[1]) == 0, items.shape))[there]

    def judge(self, population: Population) -> Judgement:
        """Return what the users say of them."""
        users: IntArray = self.bench.users[self.places]
        return self.bench.judge(users, self.items, population)

    def per_user(self, values: FloatArray) -> FloatArray:
        """Return each user's mean of a value of the pairs; NaN where he has none."""
        known = np.isfinite(values)
        total = np.bincount(self.places[known], values[known], len(self.bench.users))
        number = np.bincount(self.places[known], minlength=len(self.bench.users))
        return np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)

    def auc(self, told: Judgement) -> float:
        """Return how well the users tell their own items from the others."""
        known = np.isfinite(told.wanted)
        areas = auc_per_user(told.wanted[known], self.is_own[known], self.places[known], len(self.bench.users))
        return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")
