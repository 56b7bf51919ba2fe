"""Readers of data files: each turns a publisher's own layout into a `Dataset`."""

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from simenv.dataset import Dataset
from simenv.errors import DataError

from . import amazon, movielens, plain, steam, table
from .checks import Door, DroppingDoor, GatheringDoor, need_choice, shown
from .home import data_home, imported
from .plain import write_plain

__all__ = [
    "FORMATS",
    "Format",
    "check",
    "counted",
    "data_home",
    "find",
    "imported",
    "open_dataset",
    "read",
    "read_counted",
    "shown",
    "write_plain",
]


@dataclass(frozen=True)
class Format:
    """A layout that can be read."""

    name: str
    what: str  # in words
    module: Any

    @property
    def options(self) -> list[str]:
        """The names of its options."""
        names = inspect.signature(self.module.read).parameters
        return [*(name for name in names if name not in ("source", "door")), "bad"]

    def recognises(self, source: Path) -> bool:
        """Tell whether a folder or file looks like this."""
        return bool(self.module.recognises(source))

    def read(self, source: Path, **options: object) -> Dataset:
        """Return the data set in a folder or file."""
        dataset: Dataset = self.module.read(source, **options)
        return dataset


LOG = logging.getLogger(__name__)
_FORMATS = (  # in the order of guessing
    Format("plain", "a folder with interactions.parquet", plain),
    Format("movielens", "MovieLens 100K, 1M, 10M, 20M, 25M, 32M or latest", movielens),
    Format("amazon", "Amazon reviews of 2014 or 2018, json or csv", amazon),
    Format("steam", "Steam purchases and hours played, csv", steam),
    Format("table", "any csv, tsv or parquet file, by its columns", table),
)
FORMATS = {form.name: form for form in _FORMATS}


def read(source: str | Path, format: str | None = None, **options: object) -> Dataset:
    """Return the data set in a folder or file; its format is guessed where it is not given.

    With `bad="drop"` rows that cannot be read are left out, and the log of Python says how many and why.
    """
    return read_counted(source, format, **options)[0]


def read_counted(source: str | Path, format: str | None = None, **options: object) -> tuple[Dataset, Mapping[str, int]]:
    """Return the data set in a folder or file, and how many rows were left out for each reason."""
    bad = options.pop("bad", "error")
    need_choice("bad", str(bad), ("error", "drop"))
    door = DroppingDoor() if bad == "drop" else Door()
    try:
        dataset = _read(Path(source).expanduser(), format, door, options)
    except DataError as error:
        if door.left_out:
            raise DataError(f"{error}; left out: {counted(door.left_out)}") from None
        raise
    return dataset, dict(door.left_out)


def counted(left_out: Mapping[str, int]) -> str:
    """Return in words how many rows were left out, and why."""
    each = [f"{count:,} ({reason})" for reason, count in sorted(left_out.items(), key=lambda one: -one[1])]
    return ", ".join(each) or "nothing"


def open_dataset(source: str | Path, format: str | None = None, **options: object) -> Dataset:
    """Return a data set from a folder or file, or by the name it was imported under."""
    dataset, left_out = read_counted(find(source), format, **options)
    if left_out:
        LOG.warning("%s: rows left out: %s", dataset.name, counted(left_out))
    return dataset


def check(source: str | Path, format: str | None = None, **options: object) -> tuple[Dataset | None, list[str]]:
    """Return what can be read of a source, and every problem found in it."""
    door = GatheringDoor()
    options.pop("bad", None)  # every one of them is to be told
    try:
        return _read(find(source), format, door, options), door.problems
    except DataError as error:
        return None, [*door.problems, str(error)]


def find(source: str | Path) -> Path:
    """Return the path of a source: as it is given, or of the data set imported under this name."""
    path = Path(source).expanduser()
    if path.exists():
        return path
    if str(source) in imported():
        return data_home() / source
    there = ", ".join(imported()) or "none yet"
    raise DataError(f"{source}: no such file, folder or imported data set; imported so far: {there}")


def _read(path: Path, format: str | None, door: Door, options: Mapping[str, object]) -> Dataset:
    if not path.exists():
        raise DataError(f"{shown(path)}: no such file or folder; check the path")
    try:
        form = FORMATS[format or _guess(path, options)]
    except KeyError:
        raise DataError(f"no format '{format}'; there are {', '.join(FORMATS)}") from None
    for option in options:
        if option not in form.options:
            raise DataError(f"{form.name}: no option '{option}'; there are {', '.join(form.options)}")
    try:
        return form.read(path, door=door, **options)
    except OSError as error:
        file = shown(Path(str(error.filename or path)))
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{shown(path)}: cannot be read as {form.name}: {reason}") from error


def _guess(path: Path, options: Mapping[str, object]) -> str:
    if path.is_file() and "user" in options and "item" in options:
        return "table"  # nothing else has columns to be named
    for name, form in FORMATS.items():
        if form.recognises(path):
            return name
    hint = "; of a table of your own name the columns: user=…, item=…" if path.is_file() else ""
    raise DataError(f"{shown(path)}: its format cannot be guessed; give one of the formats {', '.join(FORMATS)}{hint}")
