"""`simenv cache`: the fitted policies, and what was found of users, that are kept from run to run."""

import typer

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_command() -> None:
    """List the fitted policies that are kept, the latest first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from simenv.readers import shown

    from .fitted import SHOWN, cache_home, kept_policies, took

    kept = kept_policies()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("policy", "data", "fitted on (UTC)", "in", "size", "fingerprint"):
        table.add_column(heading, justify="right" if heading in ("in", "size") else "left", no_wrap=True)
    for one in kept:
        about = one.about
        words = (about.get("label", "a training"), about.get("data", ""), about.get("on", "was interrupted"))
        seconds = took(about["seconds"]) if isinstance(about.get("seconds"), float) else ""
        size = f"{one.bytes / 1e6:,.1f} MB"
        table.add_row(*(Text(str(word)) for word in (*words, seconds, size, one.folder.name[:SHOWN])))
    console = Console(highlight=False)
    if kept:
        console.print(table, "")
    console.print(f"{len(kept)} kept in {shown(cache_home())}", markup=False)


@app.command("clear")
def clear_command() -> None:
    """Remove the fitted policies and the fidelity verdicts that are kept; the next run makes its own."""
    from .fidelity import clear_verdicts
    from .fitted import clear_cache

    verdicts = clear_verdicts()
    typer.echo(f"{clear_cache()} removed" + (f", and {verdicts} fidelity verdicts" if verdicts else ""))
