"""The fidelity battery as people read it: a table for a terminal, and a section of the report."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simenv.errors import RunError
from simenv.rundir import RunDir

from .discretion import discreet
from .numbers import DASH, MINUS, MISSING, interval, number
from .verdict import MADE, TRUST, Tone, trust

FIDELITY = "fidelity.json"
WIDE = 110  # letters of a terminal that holds every column
COLOURS: dict[str, str] = {"pass": "green", "warn": "yellow", "fail": "bold white on red", "not measured": "dim"}
TOLD = "told"  # of what no verdict hangs on
TONES: dict[str, Tone] = {word: tone for word, (_, tone) in TRUST.items()}


@dataclass(frozen=True, slots=True)
class Line:
    """A figure as it is read."""

    name: str
    value: str
    interval: str
    word: str  # '' where it is only told
    rule: str
    tone: str


@dataclass(frozen=True, slots=True)
class Part:
    """One test as it is read."""

    test: str
    question: str
    word: str
    tone: str
    note: str
    counted: list[Line]  # figures that the verdict hangs on
    told: list[Line]
    tables: list[Mapping[str, Any]]  # title, heads, rows, and of each column whether it holds words


def fidelity_of(run: RunDir) -> dict[str, Any] | None:
    """Return what the battery found of a run's population; None where it was not measured, or is damaged."""
    try:
        found = run.read_json(FIDELITY)
    except RunError:
        return None
    return discreet(found) if isinstance(found, dict) and isinstance(found.get("tests"), list) else None


def parts_of(found: Mapping[str, Any]) -> list[Part]:
    """Return the battery's tests, ready to be set."""
    parts = []
    log = [found["log"] | {"test": "review of this run"}] if isinstance(found.get("log"), dict) else []
    beside = [found["agreement"]] if isinstance(found.get("agreement"), dict) else []
    for one in [*found["tests"], *log, *beside]:
        lines = [_line(figure) for figure in one["figures"]]
        word = str(one["verdict"])
        parts.append(
            Part(
                one["test"],
                one.get("question", ""),
                word,
                TONES.get(word, TONES["not measured"]),
                one["note"],
                [line for line in lines if line.word],
                [line for line in lines if not line.word],
                [_table(table) for table in one["tables"]],
            )
        )
    return parts


def section(run: RunDir) -> dict[str, Any] | None:
    """Return the report's section on fidelity; None where nothing was measured."""
    found = fidelity_of(run)
    if found is None:
        return None
    return {"note": trust(run.manifest), "parts": parts_of(found), "about": about(found)}


def about(found: Mapping[str, Any]) -> str:
    """Return how it was measured, in a sentence."""
    if not found["users"]:
        return "Only this run's own log was reviewed."
    on = f", on {found['on']} UTC" if found.get("on") else ""
    whose = " of a made world, against its made rows" if found.get("is_synthetic") else ""
    return f"Measured on {found['users']} users{whose} by {found['asked']:,} answers in {found['seconds']:.1f} s{on}."


def fidelity_table(found: Mapping[str, Any], width: int | None = None) -> Table:
    """Return every figure that counts, under its test and its verdict; a narrow terminal has no room for the rules."""
    wide = (Console().width if width is None else width) >= WIDE
    caption = Text(about(found), style="dim")
    table = Table(box=None, padding=(0, 1), caption=caption, caption_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold", ratio=1)
    for name in ("value", "95 % interval" if wide else "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("passes")
    for part in parts_of(found):
        head = [_badge(part.word), Text(part.test, style="bold").append(f"  {part.question}", style="dim not bold")]
        table.add_row(*head, *[""] * (3 if wide else 2))
        if part.word in ("not measured", TOLD):
            table.add_row("", Text(part.note, style="dim"), *[""] * (3 if wide else 2))
        for line in part.counted or (part.told if part.word == TOLD else []):
            style = COLOURS.get(line.word, "") if line.word != "pass" else ""
            badge = Text("") if line.word == "pass" else _badge(line.word)
            cells = [badge, Text(line.name, style=style), Text(line.value, style=style), Text(line.interval)]
            table.add_row(*cells, *([Text(line.rule, style="dim")] if wide else []))
    return table


def fidelity_line(found: Mapping[str, Any]) -> Text:
    """Return the verdict on the whole, with its note."""
    word = str(found["verdict"])
    whose = f"{MADE} " if found.get("is_synthetic") else ""
    return Text.assemble((f"fidelity: {word}", COLOURS.get(word, "")), ". ", whose, str(found["note"]))


def _badge(word: str) -> Text:
    return Text(word, style=COLOURS.get(word, ""))


def _line(figure: Mapping[str, Any]) -> Line:
    low, high = figure["low"], figure["high"]
    word = str(figure["verdict"])
    value = number(figure["mean"], low, high)
    return Line(figure["name"], value, interval(low, high, DASH), word, _rule(figure["rule"]), TONES.get(word, ""))


def _rule(words: str) -> str:
    return re.sub(r"(?<!\w)-(?=[\d.])", MINUS, words)


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    rows = table["rows"]
    in_words = [any(isinstance(row[place], str) for row in rows) for place in range(len(table["heads"]))]
    return {**table, "rows": [[_cell(cell) for cell in row] for row in rows], "in_words": in_words}


def _cell(cell: object) -> str:
    if cell is None:
        return MISSING
    return number(cell) if isinstance(cell, float) else str(cell)
