"""All that can be named, and what a policy or population of that name says of itself and takes."""

import difflib
import inspect
from collections.abc import Iterator

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from simenv.errors import ScenarioError
from simenv.options import words_of, yaml_of
from simenv.plugins import load_plugin
from simenv.readers import imported
from simenv.store import parameters_of

from .names import LENT, find, known_names
from .shipped import SHIPPED, shipped
from .told import parse


def all_names() -> Iterator[RenderableType]:
    """Yield a table of names, with a line on each, for each kind of thing that a user may name."""
    tables = {
        "policies": {name: entry.about for name, entry in known_names("policy").items()},
        "populations": {name: entry.about for name, entry in known_names("population").items()},
        "data sets": {"films": "a made world of films whose truth is known"} | dict.fromkeys(imported(), "imported"),
    }
    for kind, folder in (("scenarios", SHIPPED), ("trainings", SHIPPED / "training")):
        files = shipped(folder).items()
        tables[kind] = {name: parse(path.read_text("utf-8"), name)[0].get("question", "") for name, path in files}
    for kind, entries in tables.items():
        yield _grid(list(entries.items()), title=kind)
        yield ""


def what_it_takes(name: str) -> Iterator[RenderableType]:
    """Yield what the policy or population of this name says of itself, and a table of the options it takes."""
    names = {kind: known_names(kind) for kind in ("policy", "population")}
    kind = next((kind for kind, known in names.items() if name in known), "policy")
    if ":" not in name and name not in names[kind]:
        near = difflib.get_close_matches(name, [one for known in names.values() for one in known], n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "; `simenv list` names them all"
        raise ScenarioError(f"no policy or population '{name}'{hint}")
    entry = find(kind, name)
    maker = load_plugin(entry.path, kind)
    taken = [one for one in parameters_of(maker).values() if one.name not in LENT]
    for paragraph in (inspect.getdoc(maker) or entry.about).split("\n\n"):
        yield Text(" ".join(paragraph.split()))
        yield ""
    rows = [(one.name, _default(one), words_of(one.annotation)) for one in taken]
    yield _grid([("option", "unless told", "may be"), *rows], title="options") if rows else "it takes no options"


def _default(option: inspect.Parameter) -> str:
    if option.default is option.empty:
        return "must be told"
    return yaml_of(option.default)


def _grid(rows: list[tuple[str, ...]], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
    for place in range(len(rows[0]) if rows else 0):
        table.add_column(no_wrap=place == 0)
    for row in rows:
        table.add_row(*map(escape, row))
    return table
