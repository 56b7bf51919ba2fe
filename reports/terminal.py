"""What a terminal shows of a run: one table and a few lines."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from simenv.metrics import metric_of
from simenv.rundir import RunDir

from .asked import readings
from .interviews import interviews
from .labels import short_names
from .numbers import DASH, interval, number
from .standings import Standings, standings
from .verdict import Note, trust, verdict

LABEL, COLUMN, WIDE = 16, 13, 20  # letters: a policy's name at most, a narrow column, a wide one
RANKED_BY_NOBODY = "not to be acted on: these users failed the checks against real ones"
COLOURS = {"good": "green", "amber": "yellow", "red": "bold white on red"}


def policy_table(run: RunDir, width: int | None = None) -> Table:
    """Return the headline metrics of every policy, as many as a terminal of this width can hold.

    Intervals stand beside the means where there is room, else below them. The best contestant of a
    column is marked `*`, one that cannot be told from it `~`.
    """
    stands, fidelity = standings(run), trust(run.manifest)
    room = (Console().width if width is None else width) - LABEL - 2
    metrics = [metric for metric in stands.metrics if metric_of(metric).headline]
    wide = room >= WIDE * len(metrics)
    shown = metrics[: max(1, room // (WIDE if wide else COLUMN))]
    left = [metric for metric in metrics if metric not in shown]
    table = Table(box=None, padding=(0, 1), caption=_caption(fidelity, left), caption_justify="left")
    if fidelity.tone == "red":
        table.title, table.title_justify = Text(RANKED_BY_NOBODY, style=COLOURS["red"]), "left"
    names = short_labels(stands.policies)
    table.add_column("policy", no_wrap=True)
    for metric in shown:
        table.add_column(metric, justify="right", no_wrap=True)
    for policy in stands.policies:
        style = "dim" if policy in stands.bounds else ""
        table.add_row(Text(names[policy]), *cells(stands, policy, shown, wide), style=style)
    return table


def short_labels(policies: Sequence[str], most: int = LABEL) -> dict[str, str]:
    """Return the policies' names in so many letters at most, no two alike."""
    return short_names(policies, lambda name: len(name) <= most)


def verdict_lines(run: RunDir) -> list[str]:
    """Return what to print after a run, in rich's markup: status, trust and the sentence."""
    found = verdict(run)
    loud = [note for note in (found.status, found.trust) if note is not None and note.tone == "red"]
    quiet = [found.trust] if found.trust not in loud else []
    return [*map(_line, loud), escape(found.sentence), *map(_line, quiet), *map(escape, _asked(run))]


def _asked(run: RunDir) -> list[str]:
    """Return how users who were asked in words were read, and what they said after leaving."""
    stands = standings(run)
    found = readings(run, stands), interviews(run.pages, stands)
    return [one.words for one in found if one is not None]


def cells(stands: Standings, policy: str, metrics: Sequence[str], wide: bool) -> list[Text]:
    """Return a policy's figures, marked, with the intervals beside or below them."""
    cells = []
    for metric in metrics:
        estimate = stands.estimate(policy, metric)
        best = stands.best(metric) if len(stands.contestants) > 1 else []
        mark = "" if policy not in best else "*" if policy == best[0] else "~"
        width = stands.width(metric)
        spread = interval(estimate.low, estimate.high, DASH, width)
        value = number(estimate.mean) if width is None else number(estimate.mean, 0, width)
        cell = Text(f"{mark}{value}", style="bold" if mark else "")
        cells.append(cell.append(f"{' ' if wide else chr(10)}{spread}", style="not bold dim") if spread else cell)
    return cells


def _caption(fidelity: Note, left: Sequence[str]) -> Text:
    words = Text(fidelity.word, style=COLOURS[fidelity.tone])
    words.append("\n* best, ~ cannot be told from it; 95 % intervals", style="dim")
    return words.append(f"\nnot shown here: {', '.join(left)}", style="not bold dim") if left else words


def _line(note: Note) -> str:
    colour = COLOURS[note.tone]
    detail = f" {escape(note.detail)}" if note.detail else ""
    return f"[{colour}]{escape(note.word)}.[/] {escape(note.text)}{detail}"
