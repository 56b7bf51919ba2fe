"""How far other populations do the same with the same pages; no verdict hangs on it, for none of them is the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import kendalltau

from simenv.arrays import BoolArray, FloatArray, IntArray
from simenv.chance import key
from simenv.intervals import Interval, around, resamples
from simenv.loop import PageLoop
from simenv.pages import EMPTY, Grade, watched
from simenv.population import Population

from .bench import Bench
from .results import Cell, Figure, Result, Table

HEADS = ("users", "and", "same done", "rank correlation of satisfaction", "Kendall's tau of likes by policy")


@dataclass(frozen=True, slots=True)
class Answers:
    """What a population did with pages that everybody was shown, one policy after the other."""

    seen: BoolArray  # [U, P, K], False too where no item stood
    taken: BoolArray  # [U, P, K]
    satisfaction: FloatArray  # [U, P]
    likes: FloatArray  # [P]


def agreement(bench: Bench, others: Mapping[str, Population], name: str) -> Result:
    """Return how the population on the bench, called `name`, and others agree, each pair of them.

    Each user meets the first page of every policy, and one of random items, as if he had just come. Below each pair
    stands how far the first agrees with itself when chance is drawn anew: more than that nobody can agree with it.
    """
    lists = {**bench.lists, "random items": bench.random_lists("contest")}
    pages = np.stack([one[:, : bench.page_size] for one in lists.values()], axis=1)  # [U, P, K]
    everybody = {name: bench.population, **others}
    # Each has a luck of its own: two that draw alike would agree by that alone.
    answers = {label: _answers(bench, one, pages, luck) for luck, (label, one) in enumerate(everybody.items())}
    again = {label: _answers(bench, one, pages, -1 - luck) for luck, (label, one) in enumerate(everybody.items())}
    rows = [_row(one, other, answers[one], answers[other]) for one, other in combinations(everybody, 2)]
    rows += [_row(label, "themselves, other luck", answers[label], again[label]) for label in everybody]
    taken: list[tuple[Cell, ...]] = [
        (label, *map(float, one.taken.mean(axis=(0, 2)))) for label, one in answers.items()
    ]
    figures = [
        Figure(f"kappa of {one} and {other}", kappa_of(_tables(answers[one].taken, answers[other].taken)))
        for one, other in combinations(everybody, 2)
    ]
    figures += [
        Figure(f"kappa of {label} with themselves", kappa_of(_tables(answers[label].taken, again[label].taken)))
        for label in everybody
    ]
    note = "Agreement is no truth: populations that share a model, rows or a teacher agree with each other."
    tables = (
        Table("What they do with the same pages", HEADS, tuple(rows)),
        Table("Share of the items taken, by policy", ("users", *lists), tuple(taken)),
    )
    return Result("agreement", "not measured", note, tuple(figures), tables)


def _answers(bench: Bench, population: Population, pages: IntArray, luck: int) -> Answers:
    loop = PageLoop(bench.train, population, page_size=bench.page_size, max_pages=1, leave_out_shown=False)
    seen, taken, moods, likes = [], [], [], []
    for page in range(pages.shape[1]):
        loop.enter(bench.users, _seed(bench.seed, luck, page))
        reaction = loop.turn(pages[:, page]).reaction
        there = pages[:, page] != EMPTY
        seen.append((reaction.grades != Grade.UNSEEN) & there)
        taken.append(watched(reaction.grades, reaction.ratings) & there)
        moods.append(reaction.satisfaction)
        likes.append(float((reaction.grades == Grade.LIKED).mean()))
    return Answers(np.stack(seen, 1), np.stack(taken, 1), np.stack(moods, 1), np.array(likes))


def _seed(seed: int, luck: int, page: int) -> int:
    return int(key(seed, "agreement", luck, page) >> np.uint64(33))


def _row(one: str, other: str, mine: Answers, theirs: Answers) -> tuple[Cell, ...]:
    same = float((mine.taken == theirs.taken).mean())
    tau = float(kendalltau(mine.likes, theirs.likes).statistic) if len(mine.likes) > 2 else float("nan")
    return one, other, same, _correlation(mine.satisfaction, theirs.satisfaction), tau


def _tables(one: BoolArray, other: BoolArray) -> FloatArray:
    """Return for each user how often both took an item, one alone, the other alone, and neither: [U, 2, 2]."""
    flat, beside = one.reshape(len(one), -1), other.reshape(len(other), -1)
    both, first, second = (flat & beside).sum(1), (flat & ~beside).sum(1), (~flat & beside).sum(1)
    return np.stack([flat.shape[1] - both - first - second, second, first, both], 1).reshape(-1, 2, 2).astype(float)


def kappa_of(tables: FloatArray) -> Interval:
    """Return Cohen's kappa of all users' decisions together, whose interval is over users."""
    drawn = [_kappa(np.einsum("du,uij->dij", weights, tables)) for weights in resamples(len(tables), 0)]
    return around(float(_kappa(tables.sum(axis=0)[None])[0]), np.concatenate(drawn), len(tables), (-1.0, 1.0))


def _kappa(tables: FloatArray) -> FloatArray:
    total = tables.sum(axis=(1, 2))
    agreed = np.trace(tables, axis1=1, axis2=2) / np.maximum(total, 1)
    chance = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1) / np.maximum(total, 1) ** 2
    return np.divide(agreed - chance, 1 - chance, out=np.full(len(tables), np.nan), where=chance < 1)


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Return the rank correlation of satisfaction over all pages."""
    first, second = (np.argsort(np.argsort(some.reshape(-1), kind="stable"), kind="stable") for some in (one, other))
    if not np.ptp(one) or not np.ptp(other):
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
