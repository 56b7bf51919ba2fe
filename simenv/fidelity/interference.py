"""What decides how a session goes: the list, who the user is, both together, or chance?

Lists differ in three ways, each told as what it is: by the policy that made them, by their dose of junk, and, the same
for everybody, by the user they were made for. Where users state traits, as agents do, these are changed while all else
of them and their lists stay as they are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.intervals import Interval, paired
from simenv.population import Introducing
from simenv.traits import traits_of

from .bench import IN_WORDS, METRICS, Bench, Metered
from .dose import UNKNOWN
from .results import Cell, Figure, Result, Table, held, result, unmeasured
from .spread import spread
from .variance import COUNTED, of_metric, parts_of, persona_share, shares, shares_table

DOSES = (0.0, 0.5, 1.0)  # of junk in the lists
SHARED = 4  # lists that everybody is shown alike
TRAITS = ("activity", "conformity", "diversity")
LOW, HIGH = "low", "high"
# Every two traits stand in all four combinations once, so that each one's effect is free of the others'.
CHANGES = ((LOW, LOW, LOW), (LOW, HIGH, HIGH), (HIGH, LOW, HIGH), (HIGH, HIGH, LOW))
ONE_POLICY = "unmeasured: one policy has no variance between policies"


def interference(bench: Bench) -> Result:
    """Share out the variance between policies, between doses of junk, and between users who see the same lists."""
    if bench.base is None:
        return unmeasured("interference", UNKNOWN)
    lists = bench.lists[bench.base]
    doses = [bench.spoilt(lists, bench.junk, part, "interference") for part in DOSES]
    counter = _Counter(bench)
    by_dose = counter.cells(doses)
    figures, tables = [], []
    for metric in COUNTED:
        limit = "interference.length" if metric == "N_exit" else "interference.persona"
        name = f"{IN_WORDS[metric]}: persona's share of what persona and dose of junk decide"
        figures.append(held(bench.limits, limit, name, persona_share(of_metric(by_dose, metric))))
    figures += shares(by_dose, "dose of junk")
    tables.append(shares_table("between doses of junk", by_dose, "dose of junk"))
    if len(bench.lists) > 1:
        by_policy = counter.cells(list(bench.lists.values()))
        figures += shares(by_policy, "policy")
        tables.append(shares_table(f"between policies ({', '.join(bench.lists)})", by_policy, "policy"))
    else:
        tables.append(Table("Shares of the variance, between policies", ("of", ""), (("policy", ONE_POLICY),)))
    figures += _stated_traits(counter, [lists, doses[-1]], tables) or _history_traits(counter, lists, tables)
    return result("interference", figures, "the list decides at least as much as who the user is", tables)


def sessions_a_user(bench: Bench, policies: int) -> int:
    """Return how many sessions of each user it takes at most, with so many policies."""
    times = max(bench.repeats, 2)
    by_policy = policies if policies > 1 else 0
    return (len(DOSES) + by_policy) * times + max(SHARED * times, 2 * len(CHANGES))


class _Counter:
    """Plays sessions, each list with luck that no other has met."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.times, self.next = bench, max(bench.repeats, 2), 0

    def cells(self, many: Sequence[IntArray]) -> FloatArray:
        """Return the metrics of everybody's sessions with each list: [lists, times, U, metrics]."""
        found = []
        for lists in many:
            found.append(self.sessions(lists, self.times, self.next))
            self.next += self.times
        return np.stack(found)

    def sessions(self, lists: IntArray, times: int, first: int) -> FloatArray:
        """Return the metrics of everybody's sessions, with luck from this on: [times, U, metrics]."""
        bench = self.bench
        seeds = np.repeat(bench.seed + first + np.arange(times), len(bench.users))
        played = bench.play(np.tile(lists, (times, 1)), np.tile(bench.users, times), seeds)
        return played.metrics.reshape(times, len(bench.users), len(METRICS))


def _history_traits(counter: _Counter, lists: IntArray, tables: list[Table]) -> list[Figure]:
    """Show everybody the same few lists: what differs between users then is theirs, and what between lists is not.

    Traits are those of the users' histories; they can't be changed, so users of different levels are compared.
    """
    bench = counter.bench
    owners = stream(bench.seed, "fidelity", "shared lists").permutation(len(lists))[:SHARED]
    everybody = [np.repeat(lists[owner][None, :], len(bench.users), axis=0) for owner in owners.tolist()]
    cells = counter.cells(everybody)
    tables.append(shares_table("the same lists for everybody", cells, "list"))
    figures = shares(cells, "the same lists")
    rows: list[tuple[Cell, ...]] = []
    known = traits_of(bench.train)
    for trait in TRAITS:
        levels = getattr(known, f"{trait}_level")[bench.users]
        found: list[Cell] = [trait]
        for metric in COUNTED:
            by_user = of_metric(cells, metric).mean(axis=(1, 2))
            told = spread(_explained(by_user, levels), len(levels))
            figures.append(Figure(f"{IN_WORDS[metric]}: share of {trait} in what differs between users", told))
            found.append(told.mean)
        rows.append(tuple(found))
    heads = ("trait of the history", *(IN_WORDS[metric] for metric in COUNTED))
    tables.append(Table("Shares of what differs between users who see the same lists", heads, tuple(rows)))
    return figures


def _explained(values: FloatArray, levels: IntArray) -> Callable[[FloatArray], FloatArray]:
    """Return the share of the users' variance [U] that their levels tell, less what as many random groups would."""
    groups = np.stack([levels == level for level in np.unique(levels)]).astype(float)  # [G, U]

    def found(weights: FloatArray) -> FloatArray:
        total = weights.sum(axis=1, keepdims=True)
        middle = weights @ values / total[:, 0]
        size = weights @ groups.T
        inner = np.divide(weights @ (groups * values).T, size, out=np.zeros_like(size), where=size > 0)
        between = (size * (inner - middle[:, None]) ** 2).sum(axis=1)
        whole = weights @ values**2 - total[:, 0] * middle**2
        spare = (size > 0).sum(axis=1) - 1
        error = (whole - between) / np.maximum(total[:, 0] - spare - 1, 1)
        return np.divide(between - spare * error, whole + error, out=np.zeros(len(whole)), where=whole > 1e-12)

    return found


def _stated_traits(counter: _Counter, many: Sequence[IntArray], tables: list[Table]) -> list[Figure]:
    """Change what users state of their traits, their lists as they were; and their lists, their traits as they were.

    None where users state no traits.
    """
    bench = counter.bench
    agents = bench.population.population if isinstance(bench.population, Metered) else bench.population
    if not isinstance(agents, Introducing):
        return []
    played = []
    for levels in CHANGES:
        with _changed(agents, bench.users, dict(zip(TRAITS, levels, strict=True))) as is_told:
            if not is_told:
                return []
            same_luck = [counter.sessions(lists, 1, counter.next)[0] for lists in many]
            played.append(np.stack(same_luck))  # [lists, U, metrics]
    values = np.stack(played)  # [changes, lists, U, metrics]
    figures: list[Figure] = []
    rows: list[tuple[Cell, ...]] = []
    effects: list[tuple[Cell, ...]] = []
    for metric in COUNTED:
        cells = values[..., METRICS.index(metric)]  # [changes, lists, U]
        parts = np.array(parts_of(cells))
        rows.append((IN_WORDS[metric], *(parts / max(parts.sum(), 1e-12)).tolist()))
        told = [_by_user(cells, place) for place in range(len(TRAITS))]
        best_less_junk = paired(cells[:, 0].mean(axis=0), cells[:, -1].mean(axis=0))
        figures.append(
            Figure(f"{IN_WORDS[metric]}: the list without junk less junk alone, traits fixed", best_less_junk)
        )
        effects.append((IN_WORDS[metric], *(one.mean for one in told), best_less_junk.mean))
        figures += [
            Figure(f"{IN_WORDS[metric]}: high less low {trait}, lists fixed", one)
            for trait, one in zip(TRAITS, told, strict=True)
        ]
    heads = ("of", "list", "stated traits", "interplay", "other users and noise")
    tables.append(Table("Shares of the variance, traits and lists changed apart", heads, tuple(rows)))
    tables.append(Table("What a change moves, all else fixed", ("of", *TRAITS, "no junk"), tuple(effects)))
    return figures


def _by_user(cells: FloatArray, trait: int) -> Interval:
    """Return how much higher a metric is with a high trait than with a low one, paired by user."""
    is_high = np.array([levels[trait] == HIGH for levels in CHANGES])
    return paired(cells[is_high].mean(axis=(0, 1)), cells[~is_high].mean(axis=(0, 1)))


@contextmanager
def _changed(agents: Introducing, users: IntArray, traits: Mapping[str, str]) -> Iterator[bool]:
    """Let users state other traits for a while; False where they state none, so that none can be changed."""
    people = users.tolist()
    before: Sequence[Mapping[str, Any]] = agents.introduce(people)
    if not any(trait in one for one in before for trait in traits):
        yield False
        return
    agents.introduce(people, [{**one, **traits} for one in before])
    try:
        yield True
    finally:
        agents.introduce(people, before)
