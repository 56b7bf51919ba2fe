"""Records on disk: a parquet file by the data set's own ids; what is wrong in it is told by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simenv.arrays import FloatArray, IdArray, IntArray, WordArray
from simenv.dataset import Dataset
from simenv.errors import DataError
from simenv.pages import GRADE_WORDS

from .records import NONE, SOURCES, Graded, Records

NAME = "records.parquet"
LISTS = ("history", "history_grades", "history_ratings", "items", "grades", "ratings", "positions", "levels")
COLUMNS = ("user_id", *LISTS, "source", "run", "policy", "seed", "page", "confidence")
KINDS = {
    "history_ratings": pa.large_list(pa.float32()),
    "ratings": pa.large_list(pa.float32()),
    "positions": pa.large_list(pa.int32()),
    "levels": pa.large_list(pa.int8()),
    "seed": pa.int64(),
    "page": pa.int32(),
    "confidence": pa.float32(),
}


def write_records(records: Records, path: Path, dataset: Dataset) -> None:
    """Write the records as a parquet file, or into a folder as records.parquet, by the data set's own ids."""
    path = path / NAME if path.suffix != ".parquet" else path
    past, candidates = records.history, records.candidates
    columns = {
        "user_id": pa.array(dataset.users.ids[records.users].tolist(), pa.array(dataset.users.ids.tolist()).type),
        "history": _lists(past, _ids(dataset.catalog.ids, past.items)),
        "history_grades": _lists(past, pa.array(GRADE_WORDS[past.grades], pa.string())),
        "history_ratings": _lists(past, pa.array(past.ratings.astype(np.float32), from_pandas=True)),
        "items": _lists(candidates, _ids(dataset.catalog.ids, candidates.items)),
        "grades": _lists(candidates, pa.array(GRADE_WORDS[candidates.grades], pa.string())),
        "ratings": _lists(candidates, pa.array(candidates.ratings.astype(np.float32), from_pandas=True)),
        "positions": _lists(candidates, _or_null(records.positions)),
        "levels": _lists(candidates, _or_null(records.levels)),
        "source": pa.array(records.sources, pa.string()),
        "run": pa.array(records.runs, pa.string()),
        "policy": pa.array(records.policies, pa.string()),
        "seed": _or_null(records.seeds),
        "page": _or_null(records.pages),
        "confidence": pa.array(records.confidence),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(pa.table(columns), unfinished, compression="zstd")
    unfinished.replace(path)


def read_records(path: Path, dataset: Dataset) -> Records:
    """Return the records of a parquet file, or of a folder that holds one; what is wrong in it is told by row."""
    path = path / NAME if path.is_dir() else path
    table = _table(path)
    past = _graded(table, path, dataset, "history", "history_grades", "history_ratings")
    candidates = _graded(table, path, dataset, "items", "grades", "ratings")
    for name in ("positions", "levels"):
        _check_lengths(table, path, name, candidates.starts)
    _check_words(table["source"].to_pylist(), SOURCES, path, "source")
    confidence = table["confidence"].to_numpy().astype(np.float32)
    if not ((confidence >= 0) & (confidence <= 1)).all():
        row = int(np.argmin((confidence >= 0) & (confidence <= 1)))
        raise DataError(f"{path}, row {row + 1}: confidence {confidence[row]}; it is from 0 to 1")
    return Records(
        _indices(dataset.users.ids, table["user_id"], np.arange(len(table)), path, "user"),
        past,
        candidates,
        _or_none(_flat(table, "positions"), np.int32),
        _or_none(_flat(table, "levels"), np.int8),
        _words(table["source"]),
        _words(table["run"]),
        _words(table["policy"]),
        _or_none(table["seed"], np.int64),
        _or_none(table["page"], np.int32),
        confidence,
    )


def _table(path: Path) -> pa.Table:
    if not path.is_file():
        raise DataError(f"{path}: no preference records here; `simenv pairs RUN --format records` writes some")
    if not path.stat().st_size:
        raise DataError(f"{path}: the file is empty; write it again")
    try:
        table = pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError):
        raise DataError(f"{path}: not a parquet file, or cut off; write it again") from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"{path}: no column '{missing[0]}'; its columns are {', '.join(table.column_names)}")
    for name in LISTS:
        if not (pa.types.is_list(table[name].type) or pa.types.is_large_list(table[name].type)):
            raise DataError(f"{path}: column '{name}' is {table[name].type}; a list for each row is due")
    if not len(table):
        raise DataError(f"{path}: it has no records")
    for name, kind in KINDS.items():
        try:
            column = table[name].cast(kind)
        except pa.ArrowException:
            due = f"numbers ({getattr(kind, 'value_type', kind)}) are due"
            raise DataError(f"{path}: column '{name}' is {table[name].type}; {due}") from None
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _graded(table: pa.Table, path: Path, dataset: Dataset, items: str, grades: str, ratings: str) -> Graded:
    starts = _starts(table, items)
    for name in (grades, ratings):
        _check_lengths(table, path, name, starts)
    rows = np.repeat(np.arange(len(table)), np.diff(starts))
    words = _flat(table, grades).to_pylist()
    _check_words(words, GRADE_WORDS, path, "grade", rows)
    codes = {word: number for number, word in enumerate(GRADE_WORDS)}
    return Graded(
        starts,
        _indices(dataset.catalog.ids, _flat(table, items), rows, path, "item"),
        np.array([codes[word] for word in words], dtype=np.int8),
        _flat(table, ratings).to_numpy(zero_copy_only=False).astype(np.float32),
    )


def _starts(table: pa.Table, name: str) -> IntArray:
    lengths = pc.fill_null(pc.list_value_length(table[name]), 0).to_numpy()
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _check_lengths(table: pa.Table, path: Path, name: str, starts: IntArray) -> None:
    wrong = np.diff(_starts(table, name)) != np.diff(starts)
    if wrong.any():
        raise DataError(f"{path}, row {int(wrong.argmax()) + 1}: '{name}' is not as long as its items")


def _check_words(words: list[Any], known: Any, path: Path, what: str, rows: IntArray | None = None) -> None:
    there = set(known)
    for place, word in enumerate(words):
        if word not in there:
            row = place if rows is None else int(rows[place])
            raise DataError(f"{path}, row {row + 1}: no {what} '{word}'; there are {', '.join(known)}")


def _indices(ids: IdArray, wanted: Any, rows: IntArray, path: Path, what: str) -> IntArray:
    """Return the index of each id, or say which row bears an unknown one."""
    place = {one: index for index, one in enumerate(ids.tolist())}
    found = np.array([place.get(one, NONE) for one in wanted.to_pylist()], dtype=np.int32)
    if (found == NONE).any():
        first = int((found == NONE).argmax())
        more = int((found == NONE).sum()) - 1
        others = f" (and {more} more like it)" if more else ""
        told = f"no {what} {wanted[first].as_py()!r} in the data set of {len(ids)} {what}s{others}"
        raise DataError(f"{path}, row {int(rows[first]) + 1}: {told}; the records are of other data")
    return found


def _flat(table: pa.Table, name: str) -> Any:
    return pc.list_flatten(table[name]).combine_chunks()


def _words(column: Any) -> WordArray:
    return np.array([word or "" for word in column.to_pylist()], dtype=object)


def _lists(graded: Graded, values: Any) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(graded.starts.astype(np.int32)), values)


def _ids(ids: IdArray, rows: IntArray) -> pa.Array:
    return pa.array(ids.tolist()).take(pa.array(rows))


def _or_null(numbers: IntArray) -> pa.Array:
    return pa.array(numbers, mask=numbers == NONE)


def _or_none(column: Any, kind: Any) -> IntArray:
    numbers: FloatArray | IntArray = pc.fill_null(column, NONE).to_numpy()
    return numbers.astype(kind)
