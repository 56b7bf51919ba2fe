"""One form for all benchmarks: rows printed as a table and written to `reports/bench/NAME.json`."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parents[1] / "reports" / "bench"


@dataclass(frozen=True)
class Row:
    """A figure: the median of several runs, with the least and the greatest."""

    figure: str
    value: float
    low: float
    high: float
    goal: float | None  # to be reached; None where the figure is for orientation
    unit: str
    note: str = ""


def row(figure: str, values: Sequence[float], unit: str, *, goal: float | None = None, note: str = "") -> Row:
    """Return the row of some runs' values."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return Row(figure, *(float(f"{value:.4g}") for value in (middle, low, high)), goal, unit, note)


def write(name: str, command: str, rows: Sequence[Row], *, at_most: Sequence[str] = ()) -> None:
    """Print the rows and write them; the goals of figures in `at_most` are upper bounds."""
    _save(name, command, [asdict(one) for one in rows])
    _print(rows, at_most)


def update(name: str, command: str, rows: Sequence[Row], prefix: str, *, at_most: Sequence[str] = ()) -> None:
    """Print the rows, and write them in place of those whose figure begins with the prefix."""
    file = FOLDER / f"{name}.json"
    known = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
    fresh = [asdict(one) | {"when": now} for one in rows]
    kept = [one for one in known if not one["figure"].startswith(prefix)]
    _save(name, command, sorted(kept + fresh, key=lambda one: str(one["figure"])))
    _print(rows, at_most)


def _save(name: str, command: str, rows: Sequence[Mapping[str, object]]) -> None:
    content = {
        "name": name,
        "command": command,
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "rows": rows,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _print(rows: Sequence[Row], at_most: Sequence[str]) -> None:
    table = Table(box=None, padding=(0, 1))
    for heading in ("figure", "median", "least", "greatest", "goal", "unit"):
        table.add_column(heading, justify="left" if heading in ("figure", "unit") else "right")
    for one in rows:
        sign = "" if one.goal is None else "≤ " if one.figure in at_most else "≥ "
        goal = "" if one.goal is None else f"{sign}{one.goal:g}"
        table.add_row(one.figure, f"{one.value:,g}", f"{one.low:,g}", f"{one.high:,g}", goal, one.unit)
    Console().print(table)
