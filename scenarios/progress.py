"""How far a run has come: a bar with the time left on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .runner import Step, Watcher

EVERY = 5.0  # seconds between plain lines of one stage


@contextmanager
def watching() -> Iterator[Watcher]:
    """Yield a watcher that shows the steps on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("sessions"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        yield lambda step: progress.update(bar, description=step.stage, completed=step.done, total=step.total)


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
        self.console.print(
            f"{step.stage}: {step.done} of {step.total} sessions, {now - self.begin:.0f} s", highlight=False
        )
