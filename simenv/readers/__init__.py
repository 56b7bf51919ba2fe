"""Readers of data files: each turns a publisher's own layout into a `Dataset`."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from simenv.dataset import Dataset
from simenv.errors import DataError

from . import amazon, movielens, plain, steam, table
from .checks import GatheringDoor, shown
from .home import data_home, imported
from .plain import write_plain

__all__ = [
    "FORMATS",
    "Format",
    "check",
    "data_home",
    "imported",
    "open_dataset",
    "read",
    "shown",
    "write_plain",
]


@dataclass(frozen=True)
class Format:
    """A layout that can be read."""

    what: str  # in words
    recognises: Callable[[Path], bool]
    read: Callable[..., Dataset]

    @property
    def options(self) -> list[str]:
        """The names of its options."""
        names = inspect.signature(self.read).parameters
        return [name for name in names if name not in ("source", "door", "name")]


# In the order of guessing.
FORMATS = {
    "plain": Format("a folder with interactions.parquet", plain.recognises, plain.read),
    "movielens": Format(
        "MovieLens 100K, 1M, 10M, 20M, 25M, 32M or latest", movielens.recognises, movielens.read
    ),
    "amazon": Format("Amazon reviews of 2014 or 2018, json or csv", amazon.recognises, amazon.read),
    "steam": Format("Steam purchases and hours played, csv", steam.recognises, steam.read),
    "table": Format("any csv, tsv or parquet file, by its columns", table.recognises, table.read),
}


def read(source: str | Path, format: str | None = None, **options: object) -> Dataset:
    """Return the data set in a folder or file; its format is guessed where it is not given."""
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{shown(path)}: no such file or folder; check the path")
    if format is None:
        format = next((name for name, one in FORMATS.items() if one.recognises(path)), None)
    if format is None:
        raise DataError(
            f"{shown(path)}: its format cannot be guessed; give one of the formats {', '.join(FORMATS)}"
        )
    if format not in FORMATS:
        raise DataError(f"no format '{format}'; there are {', '.join(FORMATS)}")
    known = [*FORMATS[format].options, "name", "door"]
    for option in options:
        if option not in known:
            raise DataError(f"format {format} has no option '{option}'; it has {', '.join(known[:-2])}")
    try:
        return FORMATS[format].read(path, **options)
    except OSError as error:
        file = shown(Path(str(error.filename or path)))
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{shown(path)}: cannot be read as {format}: {reason}") from error


def open_dataset(source: str | Path, **options: object) -> Dataset:
    """Return a data set by the name it was imported under, or from a folder or file."""
    if not Path(source).expanduser().exists():
        if str(source) in imported():
            return read(data_home() / source, "plain", **{"name": str(source), **options})
        there = ", ".join(imported()) or "none yet"
        raise DataError(f"no file, folder or imported data set '{source}'; imported are: {there}")
    return read(source, **options)  # type: ignore[arg-type]


def check(source: str | Path, **options: object) -> tuple[Dataset | None, list[str]]:
    """Return what can be read of a source, and every problem found in it."""
    door = GatheringDoor()
    try:
        return open_dataset(source, door=door, **options), door.problems
    except DataError as error:
        return None, [*door.problems, str(error)]
