"""`simenv data`: what data sets there are, what is in them, and bringing in more."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simenv.errors import DataError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from simenv.dataset import Dataset

app = typer.Typer(no_args_is_help=True)
FILMS = "films"
Source = Annotated[str, typer.Argument(help="A data set's name, a folder or a file.", metavar="SOURCE")]
FormatName = Annotated[str | None, typer.Option("--format", help="Its format; guessed unless told.")]
Options = Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the format.")]


@app.command("list")
def list_command() -> None:
    """List the data sets at hand, and the formats that can be imported."""
    from simenv.readers import FORMATS, data_home, imported, shown

    _heading("data sets")
    known = [(FILMS, "built-in synthetic world")]
    known += [(name, f"{_rows_of(data_home() / name):,} interactions") for name in imported()]
    _print(_grid(known))
    _print(f"Imported ones are kept in {shown(data_home())}")
    _heading("formats that can be imported")
    _print(_grid([(name, form.what) for name, form in FORMATS.items()]))


@app.command("describe")
def describe_command(
    source: Source,
    format: FormatName = None,
    option: Options = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Describe a data set: its size, ratings, times, texts and splits."""
    told = portrait(_open(source, format, option))
    if as_json:
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _show(told)


@app.command("import")
def import_command(
    source: Source,
    format: FormatName = None,
    name: Annotated[str | None, typer.Option(help="Its name from now on; the source's unless told.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write it to this folder instead.", metavar="DIR")] = None,
    option: Options = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a data set of this name.")] = False,
) -> None:
    """Read a publisher's files and keep them in the plain layout, under a name."""
    from simenv.readers import counted, data_home, find, read_counted, shown, write_plain

    path = find(source)
    name = name or path.resolve().name.partition(".")[0]
    if name == FILMS or name.startswith(".") or Path(name).name != name:
        raise DataError(f"--name {name}: not a name for a data set; choose another, such as my-{FILMS}")
    folder = out or data_home() / name
    if folder.exists() and not force:
        raise DataError(f"{shown(folder)}: exists already; choose another name, or replace it with --force")
    # A kill leaves by the way of an error, so that the draft is cleared away.
    signal.signal(signal.SIGTERM, lambda *_: exit(143))
    dataset, left_out = read_counted(path, format, **{"name": name, **options_of(option)})
    write_plain(dataset, folder, force=force)
    _print(f"{name}: {_counts(dataset)}, kept in {shown(folder)}")
    _print(f"rows left out: {counted(left_out)}")


@app.command("check")
def check_command(source: Source, format: FormatName = None, option: Options = None) -> None:
    """Check a data set, and list every problem found."""
    from simenv.readers import check

    if source == FILMS:
        _print(f"ok: {_counts(_films())}")
        return
    dataset, problems = check(source, format, **options_of(option))
    for problem in problems:
        _print(problem)
    if problems:
        _print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found")
        raise typer.Exit(2)
    assert dataset is not None
    _print(f"ok: {_counts(dataset)}")


def options_of(given: list[str] | None) -> dict[str, Any]:
    """Return `KEY=VALUE` words as options; a dot in the key makes an option of several values."""
    options: dict[str, Any] = {}
    for word in given or []:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise DataError(f"--option {word}: give KEY=VALUE, such as duplicates=first")
        key, dot, part = key.partition(".")
        if dot:
            options.setdefault(key, {})[part] = value
        else:
            options[key] = value
    return options


def portrait(dataset: "Dataset") -> dict[str, Any]:
    """Return what there is to say of a data set."""
    import numpy as np

    log, catalog = dataset.interactions, dataset.catalog
    users, items = len(dataset.users), len(catalog)
    each = np.diff(dataset.starts)
    borne = catalog.category_matrix.sum(axis=0) if items * len(catalog.category_names) < 10**9 else []
    top = sorted(zip(catalog.category_names, map(int, borne), strict=False), key=lambda one: -one[1])
    return {
        "name": dataset.name,
        "users": users,
        "items": items,
        "items never met": int((dataset.popularity == 0).sum()),
        "interactions": len(log),
        "density": len(log) / (users * items),
        "per user": {"min": int(each.min()), "median": float(np.median(each)), "max": int(each.max())},
        "ratings": _histogram(log.ratings),
        "strengths": 0 if log.strengths is None else int(np.isfinite(log.strengths).sum()),
        "times": _times(log.times),
        "items with": {
            "title": sum(title is not None for title in catalog.titles),
            "categories": sum(bool(names) for names in catalog.categories),
            "description": sum(text is not None for text in catalog.descriptions),
            "year": int(np.isfinite(catalog.years).sum()),
        },
        "top categories": dict(top[:10]),
        "user attributes": sorted(dataset.users.attributes),
        "splits": {
            name: {word: int((words == word).sum()) for word in ("train", "valid", "test", "")}
            for name, words in dataset.published.items()
        },
        "fingerprint": dataset.fingerprint,
    }


def _histogram(ratings: Any) -> dict[str, int]:
    import numpy as np

    known = ratings[np.isfinite(ratings)]
    values, counts = np.unique(known, return_counts=True)
    if len(values) <= 12:
        return {f"{value:g}": int(count) for value, count in zip(values, counts, strict=True)}
    counts, edges = np.histogram(known, bins=10)
    return {f"{low:.4g} to {high:.4g}": int(count) for low, high, count in zip(edges, edges[1:], counts, strict=False)}


def _times(times: Any) -> dict[str, Any]:
    from datetime import UTC, datetime

    from simenv.interactions import NO_TIME

    known = times[times != NO_TIME]
    if not len(known):
        return {"known": 0}
    first, last = (datetime.fromtimestamp(int(one), UTC).isoformat() for one in (known.min(), known.max()))
    return {"known": len(known), "first": first, "last": last}


def _show(told: dict[str, Any]) -> None:
    each, times = told["per user"], told["times"]
    share = {part: f"{part} {count / told['items']:.0%}" for part, count in told["items with"].items()}
    when = "not known"
    if times["known"]:
        when = f"{times['first'][:10]} to {times['last'][:10]}"
        if times["known"] < told["interactions"]:
            when += f", for {times['known'] / told['interactions']:.1%} of the interactions"
    lines = [
        ("users", f"{told['users']:,}"),
        ("items", f"{told['items']:,}, {told['items never met']:,} of them never met"),
        ("interactions", f"{told['interactions']:,}, density {told['density']:.3%}"),
        ("per user", f"{each['min']:,} at least, median {each['median']:,g}, {each['max']:,} at most"),
        ("times", when),
        ("items with", ", ".join(share.values())),
        ("user attributes", ", ".join(told["user attributes"]) or "none"),
    ]
    if told["strengths"]:
        lines.append(("strengths", f"{told['strengths']:,} interactions have one"))
    for name, counts in told["splits"].items():
        parts = [f"{word or 'left out'} {count:,}" for word, count in counts.items() if count]
        lines.append((f"split {name}", ", ".join(parts)))
    _heading(told["name"])
    _print(_grid(lines))
    for title, counts in (("ratings", told["ratings"]), ("top categories", told["top categories"])):
        if counts:
            _heading(title)
            _print(_bars(counts))


def _bars(counts: dict[str, int]) -> "RenderableType":
    from rich.bar import Bar
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(max_width=24)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(max_width=40, ratio=1)
    most = max(counts.values())
    for name, count in counts.items():
        table.add_row(_text(name), f"{count:,}", Bar(most, 0, count))
    return table


def _grid(rows: list[tuple[str, str]]) -> "RenderableType":
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, max_width=24)
    table.add_column()
    for name, what in rows:
        table.add_row(_text(name), _text(what))
    return table


def _text(words: str) -> "RenderableType":
    from rich.text import Text

    return Text(words)  # as it stands: a title may hold square brackets


def _heading(words: str) -> None:
    from rich.text import Text

    _print(Text(f"\n{words}", style="bold"))


def _print(what: "RenderableType") -> None:
    from .terminal import Terminal

    Terminal(highlight=False).print(what, markup=False)


def _counts(dataset: "Dataset") -> str:
    return f"{len(dataset.users):,} users, {len(dataset.catalog):,} items, {len(dataset.interactions):,} interactions"


def _rows_of(folder: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(folder / "interactions.parquet").num_rows)
    except (pa.ArrowException, OSError):
        return 0


def _films() -> "Dataset":
    from simenv.films import films_world

    return films_world().dataset


def _open(source: str, format: str | None, option: list[str] | None) -> "Dataset":
    from simenv.readers import open_dataset

    if source == FILMS:
        return _films()
    return open_dataset(source, format, **options_of(option))
