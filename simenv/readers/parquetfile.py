"""Tables in parquet files, and their columns as numbers or words."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simenv.arrays import IdArray, IntArray, WordArray
from simenv.errors import DataError

from .assembly import as_ids, id_array, is_blank, words
from .checks import CORRECT, Door, need_columns, need_file, problem, shown


def read_parquet(path: Path, needed: tuple[str, ...]) -> Any:
    """Return the table of a parquet file that has these columns."""
    need_file(path)
    try:
        table = pq.read_table(path, partitioning=None)
        table.validate(full=True)
        table.schema.names  # noqa: B018  (a damaged name shows only when it is read)
    except (pa.ArrowException, OSError, UnicodeError):
        what = "not a parquet file, or cut off"
        raise DataError(problem(shown(path), what, "fetch or export it again")) from None
    need_columns(path, table.column_names, needed)
    return table


def row_place(row: int) -> str:
    """Return where a row stands, counted from 1."""
    return f"row {row + 1}"


def numeric(table: Any, column: str, file: str) -> Any:
    """Return a column that holds numbers."""
    kind = table[column].type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        what = f"column '{column}' is {kind}, not numbers"
        raise DataError(problem(file, what, "write it as numbers, or choose another column"))
    return table[column]


def whole(table: Any, column: str, file: str) -> Any:
    """Return a column that holds whole numbers, as int64."""
    values = numeric(table, column, file)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    try:
        return values.cast(pa.int64())
    except pa.ArrowException:
        raise DataError(problem(file, f"column '{column}' holds fractions", "give whole numbers")) from None


def texts(table: Any, column: str, file: str) -> WordArray:
    """Return a column as words, None where blank."""
    try:
        return words(table[column].cast(pa.string()).to_pylist())
    except pa.ArrowException:
        what = f"column '{column}' is {table[column].type}, not text"
        raise DataError(problem(file, what, "write it as text")) from None


def listed_once(table: Any, column: str, file: str, door: Door) -> tuple[IdArray, IntArray]:
    """Return the ids and the rows they stand in, less blank and repeated ones."""
    what = column.removesuffix("_id")
    listed = as_ids(table[column], f"{file}: {column}")
    blank = is_blank(listed)
    if blank.any():
        place = row_place(int(blank.argmax()))
        door.refuse(file, f"the {what} id is blank", CORRECT, place, int(blank.sum()) - 1, f"the {what} id is blank")
    seen: dict[object, int] = {}
    for row, one in enumerate(listed.to_pylist()):
        if blank[row]:
            continue
        if one in seen:
            told = f"{what} {one} stands in {row_place(seen[one])} already"
            door.refuse(file, told, "drop one", row_place(row), reason=f"the {what} stands in another row already")
        seen.setdefault(one, row)
    rows = np.fromiter(seen.values(), dtype=np.int64, count=len(seen))
    return id_array(listed.take(pa.array(rows))), rows
