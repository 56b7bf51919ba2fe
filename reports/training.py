"""The report on a training: what every stage did to held-out rows, to the users who teach and to those who grade."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from simenv.metrics import METRICS
from simenv.rundir import RunDir

from .discretion import discreet
from .forest import Bar, forest_plot
from .numbers import DASH, MINUS, MISSING, interval, number, signed
from .report import page
from .svg import COLOURS, Figure
from .verdict import Note, trust

TONES = {1: "good", -1: "red", 0: ""}
STYLES = {"good": "green", "red": "red", "": ""}  # of the tones in a terminal
OWN = "c0"  # the colour class of the policy that is trained; those beside it have the next ones
WIDE = 100  # letters of a terminal that holds intervals
TITLES = {
    "grade": "grade",
    "S_sat": "satisfaction",
    "N_like": "likes",
    "P_like": "share liked",
    "N_exit": "pages",
    "diversity": "diversity",
    "popularity_lift": "popularity lift",
}
WHO = {
    "held_out": "held-out rows",
    "teachers": "its teachers",
    "judges": "its judges",
    "truth": "the true users",
}
GLOSSARY = [
    ("grade", "Mean of what became of the items looked at: 0 disliked, 1 passed over, 2 viewed, 3 liked."),
    ("likes", "How many items a user liked in a session."),
    ("recall@10, ndcg@10", "Of each user's test row in a ranking of all items, asked with all rows before it."),
    ("its teachers", "The users from whom the stages learn, met anew with seeds from which nothing was learnt."),
    ("its judges", "Users of another kind, known by other rows, from whom nothing was learnt."),
    ("the true users", "Those of the made world, by the tastes that made its rows."),
    ("beside", "What stands beside is fitted to the training rows alone, and met the same users with the same seeds."),
]


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure after a stage, and how it moved."""

    value: str
    interval: str
    gained: str  # since the first stage; '' in its own row
    tone: str  # of that: '' where it cannot be told from none


@dataclass(frozen=True, slots=True)
class Row:
    """A stage's figures."""

    name: str
    ink: str
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of one kind of figures by stage."""

    title: str
    heads: list[str]
    rows: list[Row]


def write_training_report(folder: Path, told: Mapping[str, Any]) -> Path:
    """Write `report.html` into a training's folder and return its path."""
    RunDir(folder).write_text("report.html", training_report(discreet(dict(told))))
    return folder / "report.html"


def training_report(told: Mapping[str, Any]) -> str:
    """Return the whole page as HTML."""
    seeds = told["seeds"]
    return page(
        "training.html.jinja",
        kind="training",
        title=told["name"],
        question=told["question"],
        sentence=sentence(told),
        thrown_away=thrown_away(told["stages"]),
        changes=change_rows(told),
        beside=inks_beside(told),
        notes=[(WHO[who], _trusted(told, who)) for who in told["trust"] if who != "truth"],
        sheets=sheets(told),
        figures=figures(told),
        lessons=[(stage["name"], _about(stage)) for stage in told["stages"]],
        facts=[
            ("data", f"{told['data']}; {told['split']}"),
            ("users", f"{told['users']:,} in every simulation, the same ones"),
            ("its teachers", _words(told["population"])),
            ("its judges", _words(told["judges"])),
            ("seeds that taught", "; ".join(f"{name}: {_plainly(some)}" for name, some in seeds["teaching"].items())),
            ("seeds that graded", "; ".join(f"{WHO[who]}: {_plainly(some)}" for who, some in seeds["grading"].items())),
        ],
        glossary=GLOSSARY,
    )


def sentence(told: Mapping[str, Any]) -> str:
    """Return what became of the policy from the first stage to the last, by how much, and what of it is certain."""
    changes = {(one["who"], one["metric"]): one for one in told["changes"]}
    if not changes:
        return "One stage is done; there is nothing to hold it against yet."
    who = "truth" if ("truth", "grade") in changes else "judges"
    words = [f"{_graded(WHO[who], changes, who)}."]
    judged, taught = (_way_of(changes.get((one, "grade"))) for one in (who, "teachers"))
    teachers = _graded(WHO["teachers"], changes, "teachers")
    pleased = ": it may have learnt to please them" if taught > 0 >= judged else ""
    words.append(f"{teachers}{pleased}.")
    words.append(_found(changes))
    count = len(changes)
    words.append(f"Intervals hold for all {count} differences at once." if count > 1 else "")
    words.append(thrown_away(told["stages"]))
    return " ".join(word for word in words if word)


def _graded(name: str, changes: Mapping[tuple[str, str], Mapping[str, Any]], who: str) -> str:
    """Return how far a kind of users grade the pages otherwise than before, and like more or fewer items."""
    change = changes.get((who, "grade"))
    if change is None:
        return f"{_capital(name)} looked at nothing that they could grade"
    way = _way_of(change)
    size = _size(change)
    grade = f"grade its pages {'higher' if way > 0 else 'lower'}, by {size.lstrip('+' if way > 0 else MINUS)}"
    if not way:
        grade = f"grade its pages no differently that can be told ({size})"
    likes = changes.get((who, "N_like"))
    return f"{_capital(name)} {grade}" + ("" if likes is None else f", likes per session {_size(likes)}")


def _found(changes: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    change = changes.get(("held_out", "recall@10"))
    if change is None:
        return "No test rows tell how many held-out items it finds."
    words = {1: "more", 0: "no other number that can be told", -1: "fewer"}
    beside = ", ".join(f"{label} {number(value)}" for label, value in change["beside"].items() if value is not None)
    where = f", where recall@10 is {number(change['last'])}" + (f" (beside: {beside})" if beside else "")
    return f"It finds {words[_way_of(change)]} of the held-out items ({_size(change)}){where}."


def thrown_away(stages: Sequence[Mapping[str, Any]]) -> str:
    """Return which stages changed nothing, because what they learnt was not kept; '' where all were kept."""
    names = [str(stage["name"]) for stage in stages if stage.get("kept") == 0 and "prompts" in stage]
    if not names:
        return ""
    several = len(names) > 1
    which = f"{', '.join(names[:-1])} and {names[-1]}" if several else names[0]
    was = "stages {} were" if several else "stage {} was"
    left = "nothing of any stage is left in the policy" if len(names) == len(stages) - 1 else "they changed nothing"
    left = left if several or len(stages) == 2 else "it changed nothing"
    return f"The {was.format(which)} thrown away, for validation rows lost too much: {left}."


def change_rows(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the headline figures of the first and the last stage, their change, and what stands beside."""
    rows = []
    for one in told["changes"]:
        change = one["change"]
        tone = TONES[_way_of(one)]
        cells = [number(value, change["low"], change["high"]) for value in (one["first"], one["last"])]
        beside = [number(one["beside"].get(label), change["low"], change["high"]) for label in told["beside"]]
        name = f"{TITLES.get(one['metric'], one['metric'])}, {WHO[one['who']]}"
        rows.append({"name": name, "cells": cells, "change": _size(one), "tone": tone, "beside": beside})
    return rows


def sheets(told: Mapping[str, Any]) -> list[Sheet]:
    """Return a table for the held-out rows and for each kind of users, with what stands beside below the stages."""
    made = []
    stages = graded(told)
    for who in told["graders"]:
        names = list(stages[0][who])
        rows = [
            Row(stage["name"], OWN, [_cell(stage[who][name], place, name) for name in names])
            for place, stage in enumerate(stages)
        ]
        rows += [
            Row(f"{label}, beside", inks_beside(told)[label], [_cell(figures[who][name], 0, name) for name in names])
            for label, figures in told["beside"].items()
        ]
        made.append(Sheet(WHO[who], [TITLES.get(name, name) for name in names], rows))
    return made


def graded(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the stages after which users graded."""
    return [stage for stage in told["stages"] if "held_out" in stage]


def headline(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the main figure of each who grades."""
    return [(who, "recall@10" if who == "held_out" else "grade") for who in told["graders"]]


def figures(told: Mapping[str, Any]) -> list[Figure]:
    """Return a plot of each main figure, stage by stage; none of a figure that is not known."""
    drawn = []
    wanted = headline(told) + [(who, "N_like") for who in told["graders"] if who != "held_out"]
    for who, name in wanted:
        known = [(stage["name"], stage[who][name]) for stage in graded(told) if stage[who][name]["mean"] is not None]
        bars = [_bar(stage, one, OWN) for stage, one in known]
        if not bars:
            continue
        colours = inks_beside(told)
        beside = [(label, its[who][name]) for label, its in told["beside"].items()]
        bars += [_bar(label, one, colours[label]) for label, one in beside if one["mean"] is not None]
        drawn.append(
            forest_plot(
                f"{who}-{name}".replace("@", "-"),
                f"{TITLES.get(name, name)}: {WHO[who]}",
                "Dots are means over users, lines their 95 % intervals; the policies beside stand last.",
                TITLES.get(name, name),
                bars,
            )
        )
    return drawn


def inks_beside(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the colour classes of what stands beside the stages."""
    return {label: f"c{1 + place % (COLOURS - 1)}" for place, label in enumerate(told["beside"])}


def _bar(stage: str, one: Mapping[str, Any], ink: str) -> Bar:
    """Return a stage's estimate; of a single user it has no interval."""
    value = number(one["mean"], one["low"], one["high"])
    if one["low"] is None or one["high"] is None:
        return Bar(stage, ink, one["mean"], one["mean"], one["mean"], value)
    return Bar(stage, ink, one["mean"], one["low"], one["high"], f"{value} ({interval(one['low'], one['high'])})")


def training_table(told: Mapping[str, Any], width: int) -> Table:
    """Return the main figures by stage, for a terminal."""
    table = Table(box=None, padding=(0, 1), title=sentence(told), title_justify="left")
    table.add_column("stage", overflow="fold")
    main = headline(told)
    for who, name in main:
        table.add_column(f"{TITLES.get(name, name)}\n{WHO[who]}", justify="right", no_wrap=True)
        if width >= WIDE:
            table.add_column("95 %", justify="right", no_wrap=True)
    for place, stage in enumerate(graded(told)):
        table.add_row(stage["name"], *_terminal_cells(stage, main, place, width))
    for label, figures in told["beside"].items():
        table.add_row(f"{label}, beside", *_terminal_cells(figures, main, 0, width))
    return table


def _terminal_cells(
    figures: Mapping[str, Any], main: Sequence[tuple[str, str]], place: int, width: int
) -> list[str | Text]:
    cells: list[str | Text] = []
    for who, name in main:
        cell = _cell(figures[who][name], place)
        cells.append(Text(cell.value, style=STYLES[cell.tone]))
        if width >= WIDE:
            cells.append(cell.interval)
    return cells


def _cell(one: Mapping[str, Any], place: int, name: str = "") -> Cell:
    """Return a figure after a stage; of what is neither good nor bad in itself no change has a colour."""
    if one["mean"] is None:
        return Cell(MISSING, "", "", "")
    value, reach = number(one["mean"], one["low"], one["high"]), interval(one["low"], one["high"], DASH)
    if not place:
        return Cell(value, reach, "", "")
    gained = one["gained"]
    neutral = name in METRICS and METRICS[name].higher_is_better is None
    sure = gained["p_corrected"] is not None and gained["p_corrected"] < 0.05
    way = _way(gained) if sure and not neutral else 0
    return Cell(value, reach, signed(gained["mean"], gained["low"], gained["high"]), TONES[way])


def _way_of(change: Mapping[str, Any] | None) -> int:
    return 0 if change is None else _way(change["change"])


def _way(change: Mapping[str, Any]) -> int:
    """Return whether a difference is above zero for certain, below it, or neither."""
    low, high = change["low"], change["high"]
    if low is None or high is None:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def _size(change: Mapping[str, Any]) -> str:
    """Return a change and its interval."""
    one = change["change"]
    size, reach = signed(one["mean"], one["low"], one["high"]), interval(one["low"], one["high"])
    return f"{size} [{reach}]" if reach else size


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _about(stage: Mapping[str, Any]) -> str:
    """Return what a stage learnt from, in words."""
    if "prompts" not in stage:
        return str(stage["source"])
    before, after = stage["chosen"]
    told = f"{stage['source']}, {stage['objective']}: {stage['prompts']:,} prompts, {stage['candidates']:,} items;"
    told += f" what was chosen is {after - before:+.2f} likelier (logarithm)"
    if not stage["kept"]:
        told += "; thrown away, for validation rows lost too much"
    return told


def _trusted(told: Mapping[str, Any], name: str) -> Note:
    return trust({"fidelity": told["trust"].get(name) or {}})


def _words(chosen: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {_plainly(value)}" for key, value in chosen.items() if key != "name")
    return f"{chosen['name']}{f' ({options})' if options else ''}"


def _plainly(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
