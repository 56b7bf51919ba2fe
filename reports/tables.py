"""The tables of a report, as rows that a template only has to set."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from simenv.metrics import metric_of

from .discretion import discreet
from .numbers import DASH, GAP, count, interval, number, p_value, signed
from .standings import Estimate, Standings
from .svg import Scale, inks, line, tag

GAUGE = 64.0  # width of the little interval under a number


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one policy."""

    value: str
    interval: str
    mark: str  # 'best', 'alike' or ''
    gauge: Markup


@dataclass(frozen=True, slots=True)
class Row:
    """One policy and its cells."""

    policy: str
    ink: str
    is_bound: bool
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Column:
    """One metric, and which way is better: 'higher', 'lower' or ''."""

    name: str
    better: str
    definition: str
    is_main: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Metrics that belong together, and all policies under them."""

    name: str
    note: str
    columns: Sequence[Column]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class PairRow:
    """One comparison of two policies."""

    metric: str
    policy: str
    ink: str
    against: str
    ink_against: str
    difference: str
    interval: str
    p: str
    tells_apart: bool


def groups(stands: Standings) -> list[Group]:
    """Return the metrics of sessions, of lists and offline; a group without any is left out."""
    offline = [name for name in stands.metrics if "@" in name]
    headline = [name for name in stands.metrics if metric_of(name).headline and name not in offline]
    lists = [name for name in stands.metrics if name not in headline and name not in offline]
    parts = [
        ("How sessions went", "Means over users, with 95 % intervals.", headline),
        ("What the lists were like", "These describe the lists shown, not how users took them.", lists),
        (
            "Offline, against held-out rows",
            "How well each policy finds what users chose in the data; no simulation is involved.",
            offline,
        ),
    ]
    return [group_of(stands, name, note, metrics) for name, note, metrics in parts if metrics]


def pair_rows(stands: Standings) -> list[PairRow]:
    """Return every comparison once, main metric first, the better placed policy first."""
    order = {policy: place for place, policy in enumerate(stands.policies)}
    metrics = {metric: place for place, metric in enumerate(stands.metrics)}
    last = len(order)
    pairs = [pair for pair in stands.pairs.values() if order.get(pair.policy, last) < order.get(pair.against, last)]
    pairs.sort(
        key=lambda pair: (
            metrics.get(pair.metric, len(metrics)),
            order[pair.policy],
            order.get(pair.against, last),
        )
    )
    colours = inks(stands)
    return [
        PairRow(
            pair.metric,
            pair.policy,
            colours.get(pair.policy, ""),
            pair.against,
            colours.get(pair.against, ""),
            signed(pair.difference, pair.low, pair.high),
            interval(pair.low, pair.high),
            p_value(pair.p_holm, at_floor=pair.at_floor).removeprefix("p").removeprefix(f"{GAP}={GAP}").strip(),
            pair.tells_apart,
        )
        for pair in pairs
    ]


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was run, as names and words; what the manifest leaves out is left out here."""
    told = discreet(dict(manifest))
    data, population = told.get("dataset") or {}, told.get("population") or {}
    found = [
        ("scenario", told.get("scenario")),
        ("data", data_words(data)),
        ("split", data.get("split")),
        (
            "population",
            _joined([population.get("name"), population.get("about"), in_words(population.get("options"))]),
        ),
        ("users", count(told["users"]) if isinstance(told.get("users"), int) else told.get("users")),
        ("pages", _pages(told)),
        ("seeds", ", ".join(str(seed) for seed in told.get("seeds") or [])),
        (
            "time",
            in_words({k: f"{v:.1f} s" if isinstance(v, float) else f"{v} s" for k, v in _mapping(told.get("seconds"))}),
        ),
        ("simenv", told.get("simenv")),
        ("versions", " · ".join(f"{name} {version}" for name, version in _mapping(told.get("versions")))),
        ("data fingerprint", data.get("fingerprint")),
        ("command", told.get("command")),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]


def policy_facts(manifest: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return each policy's label, name and options."""
    told = discreet(list(manifest.get("policies", [])))
    return [(entry["label"], str(entry.get("name", "")), in_words(entry.get("options"))) for entry in told]


def empty_places(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the policies that could not fill their pages, and how many places stayed empty."""
    return [(policy, count(int(n))) for policy, n in _mapping(manifest.get("empty_places")) if n]


def glossary(stands: Standings) -> list[tuple[str, str, str, str]]:
    """Return each metric's name, definition, unit, and which way is better."""
    found = {}
    for name in stands.metrics:
        metric = metric_of(name)
        found[name] = (name, metric.definition, metric.unit, _better(metric.higher_is_better))
    return list(found.values())


def group_of(stands: Standings, name: str, note: str, metrics: Sequence[str]) -> Group:
    """Return all policies under these metrics."""
    columns = []
    for metric in metrics:
        told = metric_of(metric)
        columns.append(Column(metric, _better(told.higher_is_better), told.definition, metric == stands.main))
    best = {metric: stands.best(metric) if len(stands.contestants) > 1 else [] for metric in metrics}
    scales = {metric: _scale(stands, metric) for metric in metrics}
    colours = inks(stands)
    rows = [
        Row(
            policy,
            colours[policy],
            policy in stands.bounds,
            [
                _cell(
                    stands.estimate(policy, metric),
                    policy,
                    best[metric],
                    scales[metric],
                    stands.width(metric),
                )
                for metric in metrics
            ],
        )
        for policy in stands.policies
    ]
    return Group(name, note, columns, rows)


def _cell(estimate: Estimate, policy: str, best: Sequence[str], scale: Scale, width: float | None) -> Cell:
    mark = "" if policy not in best else "best" if policy == best[0] else "alike"
    value = number(estimate.mean) if width is None else number(estimate.mean, 0, width)
    spread = interval(estimate.low, estimate.high, DASH, width)
    return Cell(value, spread, mark, _gauge(estimate, scale))


def _scale(stands: Standings, metric: str) -> Scale:
    found = [stands.estimate(policy, metric) for policy in stands.policies]
    reach = [v for e in found for v in (e.mean, e.low, e.high) if v is not None] or [0.0]
    return Scale(min(reach), max(reach), 3, GAUGE - 3)


def _gauge(estimate: Estimate, scale: Scale) -> Markup:
    if estimate.mean is None or estimate.low is None or estimate.high is None or scale.low == scale.high:
        return Markup("")
    x = scale(estimate.mean)
    parts = [
        line(0, 4, GAUGE, 4, "track"),
        line(scale(estimate.low), 4, scale(estimate.high), 4, "reach"),
        tag("circle", cx=x, cy=4.0, r=2.5),
    ]
    return tag("svg", *parts, viewBox="0 0 64 8", _class="gauge", aria_hidden="true")


def _better(higher: bool | None) -> str:
    return "" if higher is None else "higher" if higher else "lower"


def data_words(data: Mapping[str, Any]) -> str:
    """Return a data set's name and sizes in words."""
    sizes = [
        f"{count(data[key])} {word}"
        for key, word in (
            ("users", "users"),
            ("items", "items"),
            ("train_rows", "training rows"),
            ("test_rows", "held-out rows"),
        )
        if isinstance(data.get(key), int)
    ]
    return _joined([data.get("name"), ", ".join(sizes)])


def _pages(told: Mapping[str, Any]) -> str:
    size, most = told.get("page_size"), told.get("max_pages")
    return f"{size} items each, at most {most} a session" if size and most else ""


def in_words(options: object) -> str:
    """Return settings with their values."""
    return ", ".join(f"{key} = {_word(value)}" for key, value in _mapping(options))


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _joined(parts: Sequence[object]) -> str:
    return " · ".join(str(part) for part in parts if part)


def _mapping(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []
