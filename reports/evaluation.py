"""What an evaluation looks like: its standings, its page and its tables for a terminal, made from its folder."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from simenv.errors import RunError
from simenv.rundir import RunDir

from .discretion import discreet
from .forest import Bar, forest_plot, inks_of
from .numbers import GAP, interval, number, p_value, signed
from .report import page
from .standings import CHANCE, Estimate, Pair, Standings, standings_of
from .svg import Figure
from .tables import Group, data_words, glossary, group_of, pair_rows, policy_facts
from .terminal import LABEL, cells, short_labels
from .verdict import Note, names, sentence_of

RESULT = "evaluation.json"
SHARES, PERCENT = 4, 2  # digits after the point: those of published tables, and intervals stand beside them
MANY = 6  # columns that a page holds side by side
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """An evaluation that was made: what it told, and who stands where."""

    folder: Path
    told: Mapping[str, Any]
    stands: Standings

    @property
    def unit(self) -> str:
        """How the main metric is called where its figures stand."""
        return f"{self.stands.main}, %" if self.stands.in_percent else self.stands.main


def read_result(folder: Path) -> Result:
    """Return the evaluation in a folder, or say that there is none."""
    path = folder / RESULT
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        metrics = dict(told["metrics"])
        metrics[CHANCE] = {name: {"mean": value} for name, value in told["by_chance"].items()}
        in_percent = bool(told["in_percent"])
        dict(told["protocol"])
        for part in ("dataset", "settings", "versions"):
            dict(told.get(part) or {})
        if told["main"] not in next(iter(metrics.values())):
            raise ValueError(f"no figure of its main metric {told['main']!r}")
        stands = standings_of(
            metrics,
            told["comparisons"],
            told["policies"],
            main=told["main"],
            digits=PERCENT if in_percent else SHARES,
            in_percent=in_percent,
        )
    except FileNotFoundError:
        raise RunError(f"{folder}: no evaluation here (it has no {RESULT}); `simenv evaluate` makes one") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path}: not an evaluation's figures ({type(error).__name__}: {error}); the file is damaged"
        ) from None
    return Result(folder, told, stands)


def write_evaluation_report(folder: Path) -> Path:
    """Write `report.html` into an evaluation's folder and return its path."""
    RunDir(folder).write_text("report.html", evaluation_report(read_result(folder)))
    path = folder / "report.html"
    logger.info("report: %s, %.0f KB", path.name, path.stat().st_size / 1000)
    return path


def evaluation_report(result: Result) -> str:
    """Return the whole page as HTML."""
    told, stands = discreet(dict(result.told)), result.stands
    knowing = [policy for policy in stands.bounds if policy != CHANCE]
    return page(
        "evaluation.html.jinja",
        kind="evaluation",
        title=told.get("evaluation") or "an evaluation",
        question=told.get("question") or "",
        sentence=sentence_of(stands)[0],
        note=_note(told),
        protocol=_protocol(told),
        groups=_groups(stands),
        in_percent=stands.in_percent,
        contested=len(stands.contestants) > 1,
        bounds=names(knowing),
        figures=_figures(result),
        pairs=pair_rows(stands),
        facts=_facts(told),
        policies=policy_facts(told),
        fits=_fits(told),
        glossary=glossary(stands),
    )


def evaluation_parts(result: Result, width: int) -> list[RenderableType]:
    """Return what a terminal of this width shows: the sentence, the protocol, the figures and the differences."""
    stands = result.stands
    protocol = Table.grid(padding=(0, 2, 0, 0))
    protocol.add_column(style="dim", no_wrap=True)
    protocol.add_column()
    for name, words in _protocol(result.told):
        protocol.add_row(Text(name), Text(words))
    parts: list[RenderableType] = [Text(sentence_of(stands)[0], style="bold"), "", protocol, ""]
    for table in _tables(stands, width):
        parts += [table, ""]
    legend = "* best, ~ cannot be told from it; 95 % intervals"
    parts += [Text(f"{legend}; figures in %" if stands.in_percent else legend, style="dim"), ""]
    pairs = _from_the_best(stands)
    if pairs:
        parts += [Text(f"difference from {pairs[0].against} in {result.unit}"), _differences(pairs), ""]
    return parts


def _tables(stands: Standings, width: int) -> list[Table]:
    """Return every metric of every policy, in as many tables as it takes.

    Intervals stand below the means, or beside them where there is room for all.
    """
    metrics = stands.metrics
    label = min(LABEL, max(map(len, [*stands.policies, "policy"]))) + 2
    sizes = [_columns(stands, metrics, beside) for beside in (True, False)]
    beside = label + sum(sizes[0]) <= width
    room = max(1, (width - label) // max(sizes[not beside]))
    count = -(-len(metrics) // room)
    each = -(-len(metrics) // count)  # tables of one length, as far as can be
    return [_table(stands, metrics[begin : begin + each], beside) for begin in range(0, len(metrics), each)]


def _differences(pairs: Sequence[Pair]) -> Table:
    """Return the others' differences from the best on the main metric."""
    table = Table(box=None, padding=(0, 1))
    names_of = short_labels([pair.policy for pair in pairs])
    table.add_column("policy", no_wrap=True)
    for heading in ("mean", "95 % interval", "corrected p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in pairs:
        words = (
            signed(pair.difference, pair.low, pair.high),
            interval(pair.low, pair.high),
            p_value(pair.p_holm, at_floor=pair.at_floor),
        )
        table.add_row(Text(names_of[pair.policy]), *map(Text, words), style="" if pair.tells_apart else "dim")
    return table


def _columns(stands: Standings, metrics: Sequence[str], beside: bool) -> list[int]:
    """Return how wide each metric's column is, with a space on both sides."""
    return [
        2
        + max(
            len(metric),
            *(
                len(line)
                for policy in stands.policies
                for line in cells(stands, policy, [metric], beside)[0].plain.splitlines() or [""]
            ),
        )
        for metric in metrics
    ]


def _table(stands: Standings, metrics: Sequence[str], beside: bool) -> Table:
    table = Table(box=None, padding=(0, 1))
    names_of = short_labels(stands.policies)
    table.add_column("policy", no_wrap=True)
    for metric in metrics:
        table.add_column(Text(metric), justify="right", no_wrap=True)
    for policy in stands.policies:
        style = "dim" if policy in stands.bounds else ""
        table.add_row(Text(names_of[policy]), *cells(stands, policy, metrics, beside), style=style)
    return table


def _protocol(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = told.get("dataset") or {}
    return [("data", data_words(data)), *((str(name), str(words)) for name, words in told["protocol"].items())]


def _note(told: Mapping[str, Any]) -> Note:
    """Return how far these figures can be compared."""
    if (told.get("settings") or {}).get("candidates"):
        text = (
            "Among a few candidates figures are far higher than among all items, and may order policies differently"
            " (Krichene and Rendle 2020). Compare them with figures of this protocol alone."
        )
        return Note("a few candidates", text, "amber", told["protocol"]["ranked"])
    text = "Every item could be ranked. Figures compare with others only where the whole protocol is the same."
    return Note("full ranking", text, "good")


def _groups(stands: Standings) -> list[Group]:
    """Return the metrics, as many kinds beside each other as have room, in tables of one width."""
    kinds: dict[str, list[str]] = {}
    for name in stands.metrics:
        kinds.setdefault(name.partition("@")[0], []).append(name)
    room = max(1, MANY * len(kinds) // len(stands.metrics))
    each = -(-len(kinds) // -(-len(kinds) // room))
    parts = [list(kinds)[begin : begin + each] for begin in range(0, len(kinds), each)]
    note = f"Means over users, with 95{GAP}% intervals."
    return [group_of(stands, names(part), note, [name for kind in part for name in kinds[kind]]) for part in parts]


def _figures(result: Result) -> list[Figure]:
    stands = result.stands
    colours = inks_of(stands)
    estimates = {policy: stands.estimate(policy, stands.main) for policy in stands.policies}
    known = {policy: one for policy, one in estimates.items() if one.mean is not None}
    bars = [_bar(policy, colours[policy], one.mean, one) for policy, one in known.items() if one.mean is not None]
    drawn = [
        forest_plot(
            "means",
            f"{stands.main} of every policy",
            "Means over users and their 95 % intervals. Of two policies, what counts is their difference on the same"
            " users: intervals that overlap may hide one.",
            result.unit,
            bars,
        )
    ]
    pairs = _from_the_best(stands)
    if pairs:
        best = pairs[0].against
        gaps = [_bar(pair.policy, colours[pair.policy], pair.difference, pair) for pair in pairs]
        caption = f"Differences from {best} on the same users; where a line crosses 0 there may be none."
        unit = f"difference in {stands.main}{', points' if stands.in_percent else ''}"
        drawn.append(forest_plot("gaps", f"How far from {best}", caption, unit, gaps, True))
    return drawn


def _bar(policy: str, ink: str, mean: float | None, told: Estimate | Pair) -> Bar:
    value = mean or 0.0
    low, high = (value if end is None else end for end in (told.low, told.high))
    spread = interval(told.low, told.high)
    note = f"{number(value, told.low, told.high)}{f' ({spread})' if spread else ''}"
    return Bar(policy, ink, value, low, high, note)


def _from_the_best(stands: Standings) -> list[Pair]:
    """Return each other contestant's difference from the best on the main metric."""
    best = stands.leader
    if best is None:
        return []
    found = (stands.pairs.get((stands.main, policy, best)) for policy in stands.contestants if policy != best)
    return [pair for pair in found if pair is not None and pair.difference is not None]


def _fits(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how each policy came to be fitted, in words."""
    found = []
    for entry in told["policies"]:
        fit = entry.get("fit") or {}
        how = f"on {fit.get('on', '')} UTC, in {number(fit.get('seconds'), 0, 1)}{GAP}s"
        mark = f", fingerprint {fit['fingerprint'][:12]}" if fit.get("fingerprint") else ""
        found.append((str(entry["label"]), f"{how}{mark}{', taken from the cache' if fit.get('reused') else ''}"))
    return found


def _facts(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = told.get("dataset") or {}
    found = [
        ("simenv", told.get("simenv")),
        ("versions", " · ".join(f"{name} {version}" for name, version in (told.get("versions") or {}).items())),
        ("data fingerprint", data.get("fingerprint")),
        ("test fingerprint", data.get("test_fingerprint")),
        ("command", told.get("command")),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]
