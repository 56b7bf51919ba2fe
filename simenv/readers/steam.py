"""Steam purchases and hours played: rows of user, game, `purchase` or `play`, hours and a zero."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from simenv.arrays import FloatArray
from simenv.dataset import Dataset
from simenv.errors import DataError

from .assembly import Log, as_ids, assemble, bare_catalog, is_blank, sorted_ids, words
from .checks import CORRECT, STRICT, Door, problem, shown
from .textfile import TextLayout, first_row, read_columns

KINDS = {"user": pa.int64(), "title": pa.string(), "behaviour": pa.string(), "hours": pa.float64()}
LAYOUT = TextLayout((*KINDS, "zero"))


def recognises(source: Path) -> bool:
    """Tell whether a file, or the one csv in a folder, looks like this."""
    files = _files(source)
    fields = first_row(files[0]) if len(files) == 1 else []
    return len(fields) == 5 and fields[2] in ("purchase", "play")


def read(source: Path, *, name: str | None = None, door: Door = STRICT) -> Dataset:
    """Return one interaction for each game that a user has, with the hours played as its strength.

    Rows of one user and game are merged and their hours added up; the title is the game's id.
    """
    files = _files(source)
    if len(files) != 1:
        raise DataError(problem(shown(source), f"holds {len(files)} csv files", "give the file itself"))
    columns = read_columns(files[0], LAYOUT, KINDS, door)
    hours = np.asarray(columns.data["hours"], dtype=np.float64)
    behaviour = words(columns.data["behaviour"].to_pylist())
    log = Log(
        columns.file,
        columns.place,
        as_ids(columns.data["user"], "user"),
        as_ids(columns.data["title"], "title"),
    )
    played, bought = behaviour == "play", behaviour == "purchase"
    blank = is_blank(log.users) | is_blank(log.items)
    amiss = ~(hours >= 0) | np.isinf(hours)
    log.refuse(door, blank, lambda _: "the user or the title is blank", CORRECT)
    log.refuse(
        door,
        ~(played | bought),
        lambda row: f"'{behaviour[row]}' is neither purchase nor play",
        CORRECT,
        "neither purchase nor play",
    )
    log.refuse(door, amiss, lambda row: f"{hours[row]:g} is no number of hours", CORRECT, "no number of hours")
    wrong = blank | amiss | ~(played | bought)
    merged = _merged(log.without(wrong), np.where(played, hours, np.nan)[~wrong])
    ids = sorted_ids(merged.items)
    catalog = replace(bare_catalog(ids), titles=ids)
    return assemble(name or source.resolve().name.partition(".")[0], merged, catalog, door=door)


def _files(source: Path) -> list[Path]:
    return [source] if source.is_file() else sorted(source.glob("*.csv"))


def _merged(log: Log, hours: FloatArray) -> Log:
    pairs = log.pairs(sorted_ids(log.users), sorted_ids(log.items))
    _, first, group = np.unique(pairs, return_index=True, return_inverse=True)
    played = np.isfinite(hours)
    total = np.bincount(group, np.where(played, hours, 0.0), minlength=len(first)).astype(np.float64)
    total[np.bincount(group, played, minlength=len(first)) == 0] = np.nan
    later = np.ones(len(log), dtype=bool)
    later[first] = False
    return replace(log.without(later), strengths=total[np.argsort(first)])
