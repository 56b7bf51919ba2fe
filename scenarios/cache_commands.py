"""`simenv cache`: the fitted policies, and what was found of users, that are kept from run to run."""

import typer

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_command() -> None:
    """List the fitted policies and users that are kept, the latest first, and how much they take."""
    from rich.table import Table
    from rich.text import Text

    from simenv.readers import shown

    from .fitted import SHOWN, cache_home, kept_policies, most_kept, took
    from .terminal import Terminal

    kept = kept_policies()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("fitted", "data", "fitted on (UTC)", "in", "size", "fingerprint"):
        table.add_column(heading, justify="right" if heading in ("in", "size") else "left", no_wrap=True)
    for one in kept:
        about = one.about
        words = (about.get("label", "a training"), about.get("data", ""), about.get("on", "was interrupted"))
        seconds = took(about["seconds"]) if isinstance(about.get("seconds"), float) else ""
        size = f"{one.bytes / 1e6:,.1f} MB"
        table.add_row(*(Text(str(word)) for word in (*words, seconds, size, one.folder.name[:SHOWN])))
    console = Terminal(highlight=False)
    if kept:
        console.print(table, "")
    total = sum(one.bytes for one in kept)
    told = f"{len(kept)} kept in {shown(cache_home())}, {total / 1e6:,.1f} MB of at most {most_kept() / 1e9:g} GB"
    console.print(f"{told} (SIMENV_CACHE_GB); what was not used for longest goes first", markup=False, soft_wrap=True)


@app.command("clear")
def clear_command() -> None:
    """Remove the fitted policies, users and fidelity verdicts that are kept; the next run makes its own."""
    from .fidelity import clear_verdicts
    from .fitted import clear_cache

    verdicts = clear_verdicts()
    typer.echo(f"{clear_cache()} removed" + (f", and {verdicts} fidelity verdicts" if verdicts else ""))
