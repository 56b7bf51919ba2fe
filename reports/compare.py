"""Two runs side by side: what changed, for whom, and whether it can be laid to the policies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simenv.arrays import FloatArray
from simenv.errors import RunError
from simenv.intervals import LEAST_P, Interval, holm, paired
from simenv.metrics import HEADLINE, session_table
from simenv.rundir import RunDir

from .discretion import discreet
from .numbers import interval, number, p_value, signed
from .standings import CERTAIN, MAIN
from .terminal import short_labels
from .verdict import Note, status, trust

RESULTS = ("seconds", "command", "status", "fidelity", "question", "empty_places", "policies", "readings", "ways")
COUNTED = ("rows", "answered_by")  # counted in the log, or following from the population
WIDE = 100  # letters of a terminal that holds every column
HARMLESS = ("scenario", "users", "policy", "offline", "dataset.name")  # differences are taken on the users of both
WORDS = {
    "dataset": "the data differ",
    "dataset.split": "the split differs",
    "population": "the population differs",
    "page_size": "the page size differs",
    "max_pages": "the page limit differs",
    "seeds": "the seeds differ",
    "leave_out_past": "whether items of the past are left out differs",
    "leave_out_shown": "whether items of earlier pages are left out differs",
    "versions": "the versions differ",
    "simenv": "the versions differ",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One policy's change in one metric, on the users of both runs: the other run minus the one."""

    policy: str
    metric: str
    one: float
    other: float
    difference: Interval
    p_holm: float  # corrected for all changes, in every metric

    @property
    def holds(self) -> bool:
        """Whether the change holds after correction."""
        return self.p_holm < CERTAIN and not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that the manifests tell differently."""

    name: str
    one: str
    other: str


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs: their changes, what was set differently, and what to be warned of."""

    names: tuple[str, str]
    users: int  # in both runs, under the policy that shares most
    changes: Sequence[Change]
    settings: Sequence[Setting]
    warnings: Sequence[str]
    notes: Sequence[tuple[str, Note]]  # status and fidelity of each run, by its name


def compare_runs(one: RunDir, other: RunDir, *, force: bool = False) -> RunComparison:
    """Compare two runs policy by policy on the users they share; refuse if they share none.

    Runs on other data share ids at most, not users, and are refused unless `force` says otherwise.
    """
    prints = [run.manifest.get("dataset", {}).get("fingerprint") for run in (one, other)]
    if prints[0] != prints[1] and not force:
        raise RunError(
            f"{one.folder} and {other.folder}: the data differ, so users of one id need not be the same people;"
            " compare runs on the same data and split, or --force it"
        )
    tables = session_table(one), session_table(other)
    before, after = (set(table["policy"].to_pylist()) for table in tables)
    labels = [label for label in dict.fromkeys(tables[0]["policy"].to_pylist()) if label in after]
    if not labels:
        raise RunError(
            f"{one.folder} and {other.folder}: no policy in common; the one has {_listed(before)},"
            f" the other {_listed(after)}"
        )
    changes: list[Change] = []
    users = 0
    for label in labels:
        mine, theirs = _shared(tables[0], tables[1], label)
        users = max(users, mine.num_rows)
        if mine.num_rows:
            changes.extend(_change(label, metric, mine, theirs) for metric in _metrics(mine, theirs))
    if not changes:
        raise RunError(f"{one.folder} and {other.folder}: no user in common under {_listed(labels)}")
    names = _names(one, other)
    settings = settings_of(one.manifest, other.manifest)
    warnings = [*_warnings(settings), *_distrusted(names, one, other)]
    return RunComparison(names, users, _corrected(changes), settings, warnings, _notes(names, one, other))


def comparison_table(comparison: RunComparison, width: int | None = None) -> Table:
    """Return the changes as a table for a terminal of this width; a narrow one has no room for the two means."""
    beside = [f"{name}: {note.word}" for name, note in comparison.notes]
    table = Table(box=None, padding=(0, 1), caption=Text("\n".join(beside)), caption_justify="left")
    wide = (Console().width if width is None else width) >= WIDE
    headings = ["policy", "metric", *comparison.names, "difference", "95 % interval", "corrected p"]
    shown = [place for place in range(len(headings)) if wide or place not in (2, 3)]
    policies = short_labels([change.policy for change in comparison.changes])
    runs = short_labels(comparison.names)
    headings[2:4] = [runs[name] for name in comparison.names]
    for place in shown:
        words = headings[place] if wide else headings[place].removesuffix("erence").removeprefix("corrected ")
        table.add_column(Text(words), justify="left" if place < 2 else "right", no_wrap=True)
    for change in comparison.changes:
        cells = [policies[change.policy], *_cells(change)[1:]]
        table.add_row(*(Text(cells[place]) for place in shown), style="bold" if change.holds else "")
    return table


def comparison_markdown(comparison: RunComparison) -> str:
    """Return the whole comparison as Markdown."""
    one, other = comparison.names
    lines = [f"# {_plain(one)} and {_plain(other)}", ""]
    lines += [f"**Warning:** {_plain(warning)}" for warning in comparison.warnings]
    lines += [f"- {_plain(name)}: {note.word}. {note.text}" for name, note in comparison.notes]
    lines += [
        "",
        f"On {comparison.users} users of both runs; differences are {_plain(other)} minus {_plain(one)}.",
        "",
    ]
    lines += _rows(
        ["policy", "metric", one, other, "difference", "95 % interval", "corrected p"],
        [_cells(change) for change in comparison.changes],
    )
    if comparison.settings:
        lines += ["", "## What was set differently", ""]
        lines += _rows(["setting", one, other], [[s.name, s.one, s.other] for s in comparison.settings])
    return "\n".join(lines) + "\n"


def settings_of(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Setting]:
    """Return what two manifests tell differently; results and times are not settings."""
    before, after = _flat(discreet(_settings(one))), _flat(discreet(_settings(other)))
    names = dict.fromkeys([*before, *after])
    pairs = [(name, before.get(name, "absent"), after.get(name, "absent")) for name in names]
    return [Setting(name, str(a), str(b)) for name, a, b in pairs if a != b]


def _settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in manifest.items() if name not in RESULTS + COUNTED}
    policies = {
        entry["label"]: {"name": entry.get("name", ""), **(entry.get("options") or {})}
        for entry in manifest.get("policies", [])
    }
    return kept | {"policy": policies}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{name}.{key}" if name else str(key))
    return found


def _warnings(settings: Sequence[Setting]) -> list[str]:
    """Return what could explain a difference besides the policies: every setting but those known to be harmless."""
    differing = [s.name for s in settings if not any(_is_of(s.name, name) for name in HARMLESS)]
    reasons = []
    for name in differing:
        known = max((word for word in WORDS if _is_of(name, word)), key=len, default=None)
        reasons.append(f"{name} differs" if known is None else WORDS[known])
    reasons = list(dict.fromkeys(reasons))
    return [f"{'; '.join(reasons)}: the differences are not due to the policies alone."] if reasons else []


def _is_of(setting: str, name: str) -> bool:
    return setting == name or setting.startswith(f"{name}.")


def _distrusted(names: tuple[str, str], one: RunDir, other: RunDir) -> list[str]:
    failed = [name for name, run in zip(names, (one, other), strict=True) if trust(run.manifest).tone == "red"]
    return [f"the users of {name} failed the checks against real ones: do not act on its figures." for name in failed]


def _notes(names: tuple[str, str], one: RunDir, other: RunDir) -> list[tuple[str, Note]]:
    notes = []
    for name, run in zip(names, (one, other), strict=True):
        notes += [(name, note) for note in (status(run.manifest), trust(run.manifest)) if note is not None]
    return notes


def _names(one: RunDir, other: RunDir) -> tuple[str, str]:
    names = one.folder.resolve().name, other.folder.resolve().name
    return names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")


def _shared(one: pa.Table, other: pa.Table, label: str) -> tuple[pa.Table, pa.Table]:
    """Return a policy's rows in both tables for the users of both, in one order."""
    mine, theirs = (table.filter(pc.equal(table["policy"], label)) for table in (one, other))
    if mine["user_id"].type != theirs["user_id"].type:  # ids of different kinds name different users
        return mine.slice(0, 0), theirs.slice(0, 0)
    both = set(mine["user_id"].to_pylist()) & set(theirs["user_id"].to_pylist())
    kept = pa.array(sorted(both), mine["user_id"].type)
    mine, theirs = (table.filter(pc.is_in(table["user_id"], value_set=kept)) for table in (mine, theirs))
    return mine.sort_by("user_id"), theirs.sort_by("user_id")


def _metrics(mine: pa.Table, theirs: pa.Table) -> list[str]:
    found = [name for name in HEADLINE if name in mine.column_names and name in theirs.column_names]
    return sorted(found, key=lambda name: name != MAIN)


def _change(label: str, metric: str, mine: pa.Table, theirs: pa.Table) -> Change:
    one, other = _values(mine, metric), _values(theirs, metric)
    difference = paired(other, one)
    return Change(label, metric, _mean(one), _mean(other), difference, difference.p)


def _corrected(changes: Sequence[Change]) -> list[Change]:
    corrected = holm([change.difference.p for change in changes])
    return [replace(change, p_holm=p) for change, p in zip(changes, corrected, strict=True)]


def _values(table: pa.Table, metric: str) -> FloatArray:
    values: FloatArray = table[metric].cast(pa.float64()).to_numpy()
    return values


def _mean(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _cells(change: Change) -> list[str]:
    low, high = change.difference.low, change.difference.high
    return [
        change.policy,
        change.metric,
        number(change.one, low, high),
        number(change.other, low, high),
        signed(change.difference.mean, low, high),
        interval(low, high),
        p_value(change.p_holm, at_floor=change.difference.p <= LEAST_P * (1 + 1e-9)),
    ]


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    table = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in table]


def _plain(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _listed(names: set[str] | Sequence[str]) -> str:
    return ", ".join(sorted(names))
