"""What an event log must be like: rows that no run writes are refused as the log is opened, never measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .arrays import BoolArray
from .errors import RunError
from .pages import GRADE_WORDS

EVENT_KEY = ("policy", "seed", "user_id", "page", "rank")
PAGE_KEY = ("policy", "seed", "user_id", "page")
WORDS = {"policy", "grade"}
WHOLE = {"seed", "page", "rank"}
REQUIRED = {
    "events": (*EVENT_KEY, "item_id", "grade"),
    "pages": (*PAGE_KEY, "satisfaction", "exit"),
}


def check_columns(table: pa.Table, kind: str, folder: Path) -> None:
    """Refuse a table of the log that lacks a column, or has missing values or another type in it."""
    where = folder / kind
    for name in REQUIRED[kind]:
        if name not in table.column_names:
            raise RunError(f"{where}: no column '{name}'; a part of the log is damaged")
        if table[name].null_count:
            raise RunError(f"{where}: column '{name}' has {table[name].null_count:,} empty values; the log is damaged")
        if name in WHOLE and not pa.types.is_integer(table[name].type):
            raise RunError(f"{where}: column '{name}' holds {table[name].type} where whole numbers belong")
        if name in WORDS and not _is_text(table[name].type):
            raise RunError(f"{where}: column '{name}' holds {table[name].type} where words belong")
        if name in ("user_id", "item_id") and not (_is_text(table[name].type) or pa.types.is_integer(table[name].type)):
            raise RunError(f"{where}: column '{name}' holds {table[name].type} where ids belong")
    if kind == "events":
        _check_events(table, where)
    else:
        _check_pages(table, where)


def check_unique(table: pa.Table, kind: str, folder: Path, same: BoolArray) -> None:
    """Refuse rows of one place: `same` [rows - 1] says which row, in order, stands where the one before it does."""
    if same.any():
        row = int(np.argmax(same))
        key = EVENT_KEY if kind == "events" else PAGE_KEY
        told = ", ".join(f"{name.removesuffix('_id')} {table[name][row].as_py()}" for name in key)
        raise RunError(f"{folder / kind}: {int(same.sum()) + 1:,} rows or more are written twice, such as {told}")


def check_contiguous(pages: pa.Table, new_session: BoolArray, folder: Path) -> None:
    """Refuse sessions, in order, whose pages are not 0, 1, 2 and so on, or that go on after an exit."""
    number, leaves = pages["page"].to_numpy(), pages["exit"].to_numpy()
    first = np.flatnonzero(new_session)
    wanted = np.arange(len(number)) - np.repeat(first, np.diff([*first, len(number)]))
    wrong = (number != wanted) | np.append(leaves[:-1] & ~new_session[1:], [False])
    if wrong.any():
        row = int(np.argmax(wrong))
        told = ", ".join(f"{name.removesuffix('_id')} {pages[name][row].as_py()}" for name in PAGE_KEY)
        raise RunError(f"{folder / 'pages'}: a session has a gap, or goes on after its user left, at {told}")


def check_counts(table: pa.Table, kind: str, folder: Path, wanted: object) -> None:
    """Refuse a log that has other rows than its manifest counted."""
    if isinstance(wanted, int) and wanted != len(table):
        raise RunError(
            f"{folder / kind}: {len(table):,} rows where the manifest counted {wanted:,}; the log was changed"
        )


def _check_events(table: pa.Table, where: Path) -> None:
    grades = set(pc.unique(table["grade"].cast(pa.string())).to_pylist())
    unknown = sorted(grades - set(GRADE_WORDS.tolist()))
    if unknown:
        raise RunError(f"{where}: no grade '{unknown[0]}'; there are {', '.join(GRADE_WORDS)}")
    for name in ("page", "rank"):
        if len(table) and pc.min(table[name]).as_py() < 0:
            raise RunError(f"{where}: column '{name}' counts from 0, and holds {pc.min(table[name]).as_py()}")
    if "rating" not in table.column_names or not _is_number(table["rating"].type):
        raise RunError(f"{where}: column 'rating' is missing, or holds no numbers")
    if "known" in table.column_names and not (
        pa.types.is_boolean(table["known"].type) and not table["known"].null_count
    ):
        raise RunError(f"{where}: column 'known' holds something else than true and false")


def _check_pages(table: pa.Table, where: Path) -> None:
    if not _is_number(table["satisfaction"].type):
        raise RunError(f"{where}: column 'satisfaction' holds {table['satisfaction'].type} where numbers belong")
    if not pa.types.is_boolean(table["exit"].type):
        raise RunError(f"{where}: column 'exit' holds {table['exit'].type} where true and false belong")
    values = table["satisfaction"].to_numpy()
    if len(values) and not (np.isfinite(values).all() and values.min() >= 1 and values.max() <= 10):
        raise RunError(f"{where}: column 'satisfaction' goes from 1 to 10, and holds {_odd(values)}")
    for name in ("exit_cause", "words", "reading", "asked", "remembered"):
        if name in table.column_names and not (_is_text(table[name].type) or pa.types.is_null(table[name].type)):
            raise RunError(f"{where}: column '{name}' holds {table[name].type} where words belong")


def _odd(values: np.ndarray) -> float:  # type: ignore[type-arg]
    return float(values[~(np.isfinite(values) & (values >= 1) & (values <= 10))][0])


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def new_groups(ranks: Sequence[np.ndarray]) -> BoolArray:  # type: ignore[type-arg]
    """Return where, in rows that are in order, a value of any of these columns differs from the row before."""
    count = len(ranks[0])
    new = np.zeros(count, dtype=bool)
    new[:1] = True
    for rank in ranks:
        new[1:] |= rank[1:] != rank[:-1]
    return new
