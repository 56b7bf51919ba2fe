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
from .numbers import MISSING, interval, number, signed
from .report import page
from .svg import Figure
from .verdict import Note, trust

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
WHO = {"held_out": "held-out rows", "taught": "its teachers", "judged": "its judges"}
MAIN = (("held_out", "recall@10"), ("taught", "grade"), ("judged", "grade"))
GLOSSARY = [
    ("grade", "Mean of what became of the items looked at: 0 disliked, 1 passed over, 2 viewed, 3 liked."),
    ("recall@10, ndcg@10", "Of each user's test row in a ranking of all items, asked with all rows before it."),
    ("its teachers", "The simulated users from whose grades the stages learn."),
    ("its judges", "Users of another kind, known by other rows, from whom nothing was learnt."),
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
    about: str
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
    return page(
        "training.html.jinja",
        kind="training",
        title=told["name"],
        question=told["question"],
        sentence=sentence(told["stages"]),
        notes=[(WHO[name], _trusted(told, name)) for name in ("taught", "judged")],
        sheets=sheets(told["stages"]),
        figures=figures(told["stages"]),
        facts=[
            ("data", f"{told['data']}; {told['split']}"),
            ("users", f"{told['users']:,} in every simulation, the same ones with the same luck"),
            ("its teachers", _words(told["population"])),
            ("its judges", _words(told["judges"])),
        ],
        glossary=GLOSSARY,
    )


def sentence(stages: Sequence[Mapping[str, Any]]) -> str:
    """Return what became of the policy from the first stage to the last."""
    if len(stages) < 2:
        return "One stage is done; there is nothing to hold it against yet."
    ways = [_way(stages[-1][part][name]["gained"]) for part, name in MAIN]
    found, taught, judged = ways
    words = {1: "more", 0: "about as many", -1: "fewer"}
    held = f"it finds {words[found]} of the held-out items"
    if stages[-1]["held_out"]["recall@10"]["mean"] is None:
        held = "no test rows tell how many held-out items it finds"
    if taught > 0 and judged > 0:
        return f"Its teachers grade its pages higher than before, its judges too, and {held}."
    if taught > 0:
        judge = "its judges lower" if judged < 0 else "its judges no differently"
        return f"Its teachers grade its pages higher than before, {judge}: it may have learnt to please them; {held}."
    teachers = "lower" if taught < 0 else "no differently"
    return f"Its teachers grade its pages {teachers} than before, and {held}."


def sheets(stages: Sequence[Mapping[str, Any]]) -> list[Sheet]:
    """Return a table for the held-out rows, one for the teachers and one for the judges."""
    made = []
    for part, title in WHO.items():
        names = list(stages[0][part])
        rows = [
            Row(stage["name"], _about(stage), [_cell(stage[part][name], place, name) for name in names])
            for place, stage in enumerate(stages)
        ]
        made.append(Sheet(title, [TITLES.get(name, name) for name in names], rows))
    return made


def figures(stages: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Return a plot of each main figure, stage by stage; none of a figure that is not known."""
    drawn = []
    for part, name in (*MAIN, ("taught", "S_sat")):
        known = [(stage["name"], stage[part][name]) for stage in stages if stage[part][name]["mean"] is not None]
        bars = [_bar(stage, one, "a" if part == "held_out" else "b") for stage, one in known]
        if not bars:
            continue
        title = f"{TITLES.get(name, name)}: {WHO[part]}"
        drawn.append(
            forest_plot(
                f"{part}-{name}".replace("@", "-"),
                title,
                "Dots are means over users, lines their 95 % intervals.",
                name,
                bars,
            )
        )
    return drawn


def _bar(stage: str, one: Mapping[str, Any], ink: str) -> Bar:
    """Return a stage's estimate; of a single user it has no interval."""
    value = number(one["mean"], one["low"], one["high"])
    if one["low"] is None or one["high"] is None:
        return Bar(stage, ink, one["mean"], one["mean"], one["mean"], value)
    return Bar(stage, ink, one["mean"], one["low"], one["high"], f"{value} ({interval(one['low'], one['high'])})")


def training_table(told: Mapping[str, Any], width: int) -> Table:
    """Return the main figures by stage, for a terminal."""
    table = Table(box=None, padding=(0, 1), title=sentence(told["stages"]), title_justify="left")
    table.add_column("stage", overflow="fold")
    for part, name in MAIN:
        head = f"{TITLES.get(name, name)}\n{WHO[part]}"
        table.add_column(head, justify="right", no_wrap=True)
        if width >= WIDE:
            table.add_column("95 %", justify="right", no_wrap=True)
    for place, stage in enumerate(told["stages"]):
        cells: list[str | Text] = []
        for part, name in MAIN:
            cell = _cell(stage[part][name], place)
            style = {"green": "green", "red": "red"}.get(cell.tone, "")
            cells.append(Text(cell.value, style=style))
            if width >= WIDE:
                cells.append(cell.interval)
        table.add_row(stage["name"], *cells)
    return table


def _cell(one: Mapping[str, Any], place: int, name: str = "") -> Cell:
    """Return a figure after a stage; of what is neither good nor bad in itself no change has a colour."""
    if one["mean"] is None:
        return Cell(MISSING, "", "", "")
    gained = one["gained"]
    neutral = name in METRICS and METRICS[name].higher_is_better is None
    way = _way(gained) if place and not neutral else 0
    tones = {1: "green", -1: "red", 0: ""}
    moved = signed(gained["mean"], gained["low"], gained["high"]) if place else ""
    return Cell(number(one["mean"], one["low"], one["high"]), interval(one["low"], one["high"]), moved, tones[way])


def _way(gained: Mapping[str, Any]) -> int:
    """Return whether a difference is above zero for certain, below it, or neither."""
    low, high = gained["low"], gained["high"]
    if low is None or high is None:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def _about(stage: Mapping[str, Any]) -> str:
    """Return what a stage learnt from, in words."""
    if "prompts" not in stage:
        return str(stage["source"])
    before, after = stage["chosen"]
    told = f"{stage['source']}, {stage['objective']}: {stage['prompts']:,} prompts, {stage['candidates']:,} items;"
    told += f" what was chosen is {after - before:+.2f} likelier (logarithm)"
    if not stage["kept"]:
        told += "; nothing of it was kept, for validation rows lost too much"
    return told


def _trusted(told: Mapping[str, Any], name: str) -> Note:
    return trust({"fidelity": told["trust"].get(name) or {}})


def _words(chosen: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {_plainly(value)}" for key, value in chosen.items() if key != "name")
    return f"{chosen['name']}{f' ({options})' if options else ''}"


def _plainly(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
