"""What a terminal shows of how far a run has come."""

import io

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn

from simenv.scenarios.progress import _Bars, _Left
from simenv.scenarios.steps import Step


def test_no_time_is_foretold_beside_a_training_that_has_just_begun():
    """Sessions that went by in no time say nothing of the training that follows."""
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Progress(TextColumn("{task.description}"), MofNCompleteColumn(), _Left(), console=console) as progress:
        bars = _Bars(progress)
        for done in (0, 500, 900):
            bars(Step("pop, seed 0", done, 1000))
        bars(Step("fitting multvae", 900, 1000))
        bars(Step("training multvae", 0, 200, "epochs", "the first epoch"))
        told = [str(_Left().render(task)) for task in progress.tasks]
        bars(Step("training multvae", 1, 200, "epochs", "loss 3", 2580.0))
        then = [str(_Left().render(task)) for task in progress.tasks]
    assert told == ["0 s so far", "0 s so far"]
    assert then == ["0 s so far", "43:00 min left"]
