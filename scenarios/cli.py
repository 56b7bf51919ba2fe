"""The command line."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from simenv.errors import SimenvError

from . import data_commands

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A wind tunnel for recommenders: simulated users browse pages of recommendations.",
)
app.add_typer(data_commands.app, name="data", help="List, describe, import and check data sets.")
RunFolder = Annotated[Path, typer.Argument(help="A run's folder.", metavar="DIR")]


@app.command()
def run(
    scenario: Annotated[str, typer.Argument(help="A scenario file, or the name of one that is shipped.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME unless told.")] = None,
    seed: Annotated[int | None, typer.Option(help="Run this seed alone.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the scenario.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
) -> None:
    """Run a scenario: every policy before the same users, then metrics and a report."""
    from .progress import watching
    from .runner import run as run_scenario
    from .scenario import read_scenario

    changes = [*(settings or []), *([f"seeds=[{seed}]"] if seed is not None else [])]
    chosen = read_scenario(scenario, changes)
    folder = out or Path("runs") / chosen.name
    words = ["simenv run", scenario, *(f"--set {change}" for change in changes)]
    try:
        with watching() as watch:
            result = run_scenario(chosen, folder, resume=resume, command=" ".join(words), watch=watch)
    except KeyboardInterrupt:
        print(f"\nstopped; go on with the same command and --resume ({folder})", file=sys.stderr)
        raise typer.Exit(130) from None
    _show(result)


def main() -> None:
    """Run the command line; an error that a user can mend is a sentence and exit code 2."""
    try:
        app()
    except SimenvError as error:
        if "--traceback" in sys.argv:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
