"""How far a run has come: bars with the time left on a terminal, plain lines elsewhere; and what became of a policy."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from simenv.training import clock

from .steps import Step, Watcher
from .terminal import Terminal

EVERY = 5.0  # seconds between plain lines of one stage
WIDE = 110  # letters of a terminal that has room for a bar
TOLD = "simenv.scenarios.fitted"  # whose log lines are shown as they come; of the others only warnings are


@contextmanager
def watching() -> Iterator[Watcher]:
    """Yield a watcher that shows the steps on standard error."""
    console = Terminal(stderr=True)
    if not console.is_terminal:
        with _listening(lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True)):
            yield _Lines(console)
        return
    columns = [
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        *([BarColumn(bar_width=24)] if console.width >= WIDE else []),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[unit]}", markup=False, table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        _Left(Column(no_wrap=True)),
    ]
    with (
        Progress(*columns, console=console, transient=True, expand=True) as progress,
        _listening(lambda line: progress.console.print(line, highlight=False, markup=False)),
    ):
        yield _Bars(progress)


class _Left(ProgressColumn):
    """The time left where whoever works can tell it; else how long the stage has taken so far.

    A bar's own speed tells nothing of what is left: sessions that went by in a second are followed by a long training.
    """

    def render(self, task: Task) -> Text:
        taken = time.monotonic() - task.fields["begin"]
        return Text(task.fields["left"] or f"{clock(taken)} so far", style="cyan")


class _Bars:
    """One bar for the whole, and below it one for a training as long as it takes."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stages: dict[TaskID, tuple[str, float]] = {}
        self.whole: TaskID = self._added("starting", None)
        self.training: TaskID | None = None

    def __call__(self, step: Step) -> None:
        if step.unit == "epochs":
            if self.training is None:
                self.training = self._added(step.stage, step.total)
            self._show(self.training, step)
            return
        if self.training is not None:
            self.progress.remove_task(self.training)
            self.training = None
        self._show(self.whole, step)

    def _added(self, stage: str, total: int | None) -> TaskID:
        begin = time.monotonic()
        bar = self.progress.add_task(stage, total=total, unit="", note="", left="", begin=begin)
        self.stages[bar] = (stage, begin)
        return bar

    def _show(self, bar: TaskID, step: Step) -> None:
        if self.stages[bar][0] != step.stage:
            self.stages[bar] = (step.stage, time.monotonic())
        self.progress.update(
            bar,
            description=step.stage,
            completed=step.done,
            total=step.total,
            unit=step.unit,
            note=step.note,
            left=step.left,
            begin=self.stages[bar][1],
        )


class _Lines:
    """Writes a line when a stage begins, and one now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stage = ""
        self.last = self.begin = time.monotonic()

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if step.stage == self.stage and now - self.last < EVERY and step.done < step.total:
            return
        self.stage, self.last = step.stage, now
        rest = [word for word in (f"{now - self.begin:.0f} s", step.note, step.left) if word]
        told = f"{step.stage}: {step.done} of {step.total} {step.unit}, {', '.join(rest)}"
        self.console.print(told, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _listening(show: Callable[[str], None]) -> Iterator[None]:
    """Show what the log says of fitted policies, and every warning."""
    log, handler = logging.getLogger("simenv"), _Handler(show)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class _Handler(logging.Handler):
    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.show = show

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == TOLD or record.levelno >= logging.WARNING:
            self.show(record.getMessage())
