"""Do sessions contradict themselves? Rule-based reviewers of a log, and the metrics without what they object to."""

from collections.abc import Mapping

import numpy as np

from simenv.arrays import BoolArray, FloatArray
from simenv.dataset import disliked_to, liked_from
from simenv.intervals import Interval
from simenv.population import Introducing

from .bench import IN_WORDS, METRICS, Bench, Metered
from .results import Cell, Figure, Limit, Result, Table, held, result
from .rules import RULES, Evidence, Rule, Scale
from .spread import mean, spread
from .statements import Statements

TAINTING = 2  # severity from which on a session is left out
Tainted = Mapping[str, BoolArray]  # by policy, which sessions are left out: [S]


def review(bench: Bench) -> Result:
    """Review the sessions in which policies were ranked."""
    scale = scale_of(np.concatenate([bench.train.interactions.ratings, bench.held_out.ratings]))
    catalog = bench.train.catalog
    contest = bench.contest  # played first: agents have introduced themselves then, and are asked nothing more
    statements = Statements(catalog.titles.tolist(), catalog.categories, _personas(bench))
    evidence = {policy: Evidence(played, scale, statements) for policy, played in contest.items()}
    return reviewed(evidence, len(bench.users), bench.limits)


def _personas(bench: Bench) -> dict[int, Mapping[str, object]]:
    """Return what the asked users state of themselves, by their place in the data set."""
    population = bench.population.population if isinstance(bench.population, Metered) else bench.population
    if not isinstance(population, Introducing):
        return {}
    places = {str(bench.train.users.ids[user]): user for user in bench.users.tolist()}
    told = population.introduce(bench.users.tolist())
    return {places[str(one["user"])]: one for one in told if str(one.get("user")) in places}


def scale_of(ratings: FloatArray) -> Scale:
    """Return from where on ratings are high and up to where low; nowhere where nothing is rated."""
    known = np.isfinite(ratings).any()
    return Scale(liked_from(ratings), disliked_to(ratings)) if known else Scale(np.inf, -np.inf)


def reviewed(logs: Mapping[str, Evidence], users: int, limits: Mapping[str, Limit]) -> Result:
    """Return which sessions contradict themselves, under which policy, and what is left without them."""
    rules = {rule.name: rule for rule in RULES}
    cases = {
        name: {policy: int(rule.applies(one).sum()) for policy, one in logs.items()} for name, rule in rules.items()
    }
    broken = {name: {policy: rule.finds(one) for policy, one in logs.items()} for name, rule in rules.items()}
    tainting = [rule.name for rule in RULES if rule.severity >= TAINTING]
    tainted: Tainted = {policy: np.any([broken[name][policy] for name in tainting], axis=0) for policy in logs}
    by_user = np.stack([bad.reshape(-1, users) for bad in tainted.values()]).mean(axis=(0, 1))
    applied = [name for name in rules if sum(cases[name].values())]
    contradictions = spread(mean(by_user), users)
    figures = [
        held(limits, "review.tainted", "share of sessions that contradict themselves", contradictions),
    ]
    for column, metric in enumerate(METRICS):
        figures += _without(
            IN_WORDS[metric], {name: one.played.metrics[:, column] for name, one in logs.items()}, tainted
        )
    tables = [_findings(list(rules.values()), cases, broken, logs), _metrics(logs, tainted)]
    idle = f"; {len(rules) - len(applied)} cannot apply to these sessions" if len(applied) < len(rules) else ""
    good = f"reviewers found next to nothing by {len(applied)} of {len(rules)} rules{idle}"
    return result("review", figures, good, tables)


def _findings(
    rules: list[Rule],
    cases: Mapping[str, Mapping[str, int]],
    broken: Mapping[str, Mapping[str, BoolArray]],
    logs: Mapping[str, Evidence],
) -> Table:
    """Return what each rule found, in how many sessions it could find anything, or why in none."""
    total = sum(one.played.count for one in logs.values())
    rows: list[tuple[Cell, ...]] = []
    for rule in rules:
        counts = {policy: int(found.sum()) for policy, found in broken[rule.name].items()}
        looked, found = sum(cases[rule.name].values()), sum(counts.values())
        if looked:
            rows.append((rule.name, rule.severity, looked, found, _most(counts), ""))
        else:
            rows.append((rule.name, rule.severity, 0, None, "", rule.missing))
    able = sum(1 for row in rows if row[2])
    heads = ("finding", "severity", "could be in", "found in", "most under", "not applicable, since")
    return Table(f"What reviewers found in {total:,} sessions, by {able} of {len(rows)} rules", heads, tuple(rows))


def _metrics(logs: Mapping[str, Evidence], tainted: Tainted) -> Table:
    """Return every metric of every policy, of all sessions and without the tainted ones."""
    heads = ["policy", "tainted"]
    for metric in METRICS:
        heads += [IN_WORDS[metric], f"{IN_WORDS[metric]} without"]
    rows: list[tuple[Cell, ...]] = []
    for policy, one in logs.items():
        values, bad = one.played.metrics, tainted[policy]
        both = np.stack([values.mean(axis=0), _means(values, ~bad)], axis=1)
        rows.append((policy, float(bad.mean()), *both.ravel().tolist()))
    return Table("Without the sessions objected to", tuple(heads), tuple(rows))


def _without(word: str, values: Mapping[str, FloatArray], tainted: Tainted) -> list[Figure]:
    """Return what tainted sessions lend of a metric to the policy they favour most, and whether order hangs on it."""
    gains = {policy: _gain(one, tainted[policy]) for policy, one in values.items()}
    most = max(gains, key=lambda policy: gains[policy])
    users = len(values[most])
    return [
        Figure(f"{word}: most that such sessions add to a policy's mean", Interval(gains[most], np.nan, np.nan, users)),
        Figure(f"{word}: share of pairs of policies that change places without them", _swaps(values, tainted)),
    ]


def _most(counts: Mapping[str, int]) -> str:
    first = max(counts, key=lambda policy: counts[policy])
    return first if counts[first] else ""


def _means(values: FloatArray, rows: BoolArray) -> FloatArray:
    return np.asarray(values[rows].mean(axis=0)) if rows.any() else np.full(values.shape[1], np.nan)


def _gain(values: FloatArray, bad: BoolArray) -> float:
    """Return how much more a session has with the tainted sessions than without."""
    return float(values.mean() - values[~bad].mean()) if (~bad).any() else 0.0


def _swaps(values: Mapping[str, FloatArray], tainted: Tainted) -> Interval:
    if len(values) < 2:
        return Interval(0.0, np.nan, np.nan, 0)
    before = np.array([one.mean() for one in values.values()])
    after = np.array(
        [one[~tainted[policy]].mean() if (~tainted[policy]).any() else np.nan for policy, one in values.items()]
    )
    gaps = [np.sign(one[:, None] - one[None, :])[np.triu_indices(len(one), 1)] for one in (before, after)]
    return Interval(float((gaps[0] * gaps[1] < 0).mean()), np.nan, np.nan, len(gaps[0]))
