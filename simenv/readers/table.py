"""Any csv, tsv or parquet table of interactions, by the names of its columns."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import WordArray
from simenv.catalog import Catalog
from simenv.dataset import Dataset
from simenv.errors import DataError

from .assembly import Log, as_ids, assemble, id_array, ids_of, numbers, seconds, whole_if_all, words
from .checks import CORRECT, STRICT, Door, need_choice, need_columns, need_file, problem, shown
from .parquetfile import listed_once, numeric, read_parquet, row_place
from .textfile import Columns, TextLayout, delimiter_of, first_row, named, read_columns, read_listing
from .times import times_of

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
UNITS = {"auto": pa.string(), "s": pa.float64(), "ms": pa.float64(), "date": pa.string()}


def recognises(source: Path) -> bool:
    """Tell whether a file is a table with the columns user_id and item_id."""
    if source.is_dir():
        return False
    if source.suffix == ".parquet":
        try:
            there = read_parquet(source, ()).column_names
        except DataError:
            return False
    else:
        there = first_row(source, _delimiter(source, None))
    return {"user_id", "item_id"} <= set(there)


def read(
    source: Path,
    *,
    user: str = "user_id",
    item: str = "item_id",
    rating: str | None = None,
    timestamp: str | None = None,
    strength: str | None = None,
    time_unit: str = "auto",
    time_format: str | None = None,
    lowest: float | None = None,
    highest: float | None = None,
    items: str | None = None,
    item_key: str | None = None,
    title: str | None = None,
    categories: str | None = None,
    description: str | None = None,
    year: str | None = None,
    separator: str = "|",
    delimiter: str | None = None,
    encoding: str = "utf-8",
    name: str | None = None,
    duplicates: str = "error",
    unknown: str = "error",
    door: Door = STRICT,
) -> Dataset:
    """Return the data set of a table; columns not named are found under their usual names, if there.

    `items` is a table of the items, `item_key` its column of ids, `separator` what stands between the
    categories of one item; what stands between fields is found in the first line. Times are seconds, milliseconds or
    dates, whichever the column holds; `time_unit` (`s`, `ms`, `date`) says it, or `time_format` in the signs of
    `strptime`.
    """
    need_choice("time_unit", time_unit, tuple(UNITS))
    if time_format is not None:
        if time_unit != "auto" or "%" not in str(time_format):
            raise DataError(f"time_format={time_format}: give signs such as %d/%m/%Y, and no time_unit beside them")
        time_unit = "date"
    form = _Form(delimiter, encoding)
    kinds: dict[str, Any] = {user: pa.string(), item: pa.string()}
    there = form.columns(source)
    rating = rating or _usual("rating", there)
    timestamp = timestamp or _usual("timestamp", there)
    strength = strength or _usual("strength", there)
    for column, kind in ((rating, pa.float32()), (timestamp, UNITS[time_unit]), (strength, pa.float32())):
        if column:
            kinds[column] = kind
    columns = form.read(source, kinds, door)
    log = Log(
        columns.file,
        columns.place,
        whole_if_all(as_ids(columns.data[user], user)),
        whole_if_all(as_ids(columns.data[item], item)),
        ratings=numbers(columns.data[rating]) if rating else None,
        strengths=numbers(columns.data[strength]) if strength else None,
    )
    if timestamp:
        log = _timed(log, columns.data[timestamp], timestamp, time_unit, time_format, door)
    catalog = None
    if items:
        path = Path(items) if Path(items).exists() else source.with_name(items)
        text = {"title": title, "categories": categories, "description": description, "year": year}
        catalog = form.catalog(path, item_key or item, text, separator, door)
        if (catalog.ids.dtype == object) != pa.types.is_string(log.items.type):
            log, catalog = _as_texts(log, catalog)
    return assemble(
        name or source.resolve().name.partition(".")[0],
        log,
        catalog,
        door=door,
        rating_range=_range(lowest, highest),
        duplicates=duplicates,
        unknown=unknown,
    )


@dataclass(frozen=True)
class _Form:
    """How the files are written."""

    delimiter: str | None
    encoding: str

    def layout(self, path: Path) -> TextLayout:
        return named(need_file(path), TextLayout(delimiter=_delimiter(path, self.delimiter), encoding=self.encoding))

    def columns(self, path: Path) -> list[str]:
        if path.suffix == ".parquet":
            return list(read_parquet(path, ()).column_names)
        return list(self.layout(path).columns)

    def read(self, path: Path, kinds: dict[str, Any], door: Door) -> Columns:
        if path.suffix != ".parquet":
            return read_columns(path, self.layout(path), kinds, door)
        table = read_parquet(path, tuple(kinds))
        data = {}
        for column, kind in kinds.items():
            held = table[column].type
            if pa.types.is_floating(kind):
                data[column] = numeric(table, column, shown(path)).cast(kind)
            else:
                data[column] = table[column] if not pa.types.is_dictionary(held) else table[column].cast(kind)
        return Columns(shown(path), data, row_place)

    def catalog(self, path: Path, key: str, text: dict[str, str | None], separator: str, door: Door) -> Catalog:
        there = self.columns(path)
        need_columns(path, there, (key, *(column for column in text.values() if column)))
        asked = {part: column or _usual(part, there) for part, column in text.items()}
        if path.suffix == ".parquet":
            table = read_parquet(path, (key,))
            ids, rows = listed_once(table, key, shown(path), door)
            found = table.take(pa.array(rows)).to_pylist()
        else:
            listed = read_listing(path, self.layout(path), key, door, whole=False)
            found = list(listed.values())
            ids = ids_of(_plain_ids([str(one) for one in listed]))
        return Catalog(
            ids=ids,
            titles=_column(found, asked["title"]),
            categories=tuple(_categories(_at(row, asked["categories"]), separator) for row in found),
            descriptions=_column(found, asked["description"]),
            years=np.array(
                [_year(_at(row, asked["year"]), one, path, door) for one, row in zip(ids.tolist(), found, strict=True)]
            ),
        )


def _delimiter(path: Path, given: str | None) -> str:
    if given:
        return {"tab": "\t", "\\t": "\t"}.get(given, given)
    return delimiter_of(path, DELIMITERS.get(Path(path.name.removesuffix(".gz")).suffix, ","))


def _usual(name: str, there: list[str]) -> str | None:
    return name if name in there else None


def _range(lowest: float | None, highest: float | None) -> tuple[float, float] | None:
    if lowest is None and highest is None:
        return None
    try:
        return float(-np.inf if lowest is None else lowest), float(np.inf if highest is None else highest)
    except (TypeError, ValueError):
        raise DataError(f"lowest={lowest}, highest={highest}: give numbers, such as lowest=1") from None


def _timed(log: Log, column: Any, name: str, unit: str, form: str | None, door: Door) -> Log:
    """Return the log with its times, less the rows whose time cannot be read."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return replace(log, times=seconds(column.cast(pa.timestamp("s"), safe=False)))
    if unit in ("s", "ms"):
        values = pc.divide(column, 1000.0) if unit == "ms" else column
        finite = pc.if_else(pc.is_finite(values), values, None)
        return replace(log, times=seconds(pc.floor(finite).cast(pa.int64(), safe=False)))
    if unit == "date" and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(problem(log.file, f"column '{name}' is {kind}, not dates", "give time_unit=s or ms"))
    times = times_of(column, name, form, numbers=unit == "auto")
    texts = column.cast(pa.string())
    return replace(log, times=times.seconds).refuse(
        door,
        times.bad,
        lambda row: f"{name} '{texts[row].as_py()}' is not {times.wanted}",
        CORRECT,
        f"{name} is not {times.wanted}",
    )


def _as_texts(log: Log, catalog: Catalog) -> tuple[Log, Catalog]:
    """Return both with ids as text, where only one of them has whole numbers throughout."""
    ids = words([str(one) for one in catalog.ids.tolist()])
    return replace(log, items=log.items.cast(pa.string())), replace(catalog, ids=ids)


def _plain_ids(ids: list[str]) -> list[int | str]:
    return list(id_array(whole_if_all(pa.array(ids, pa.string()))).tolist())


def _at(row: dict[str, Any], column: str | None) -> object:
    return None if column is None else row[column]


def _column(rows: list[dict[str, Any]], column: str | None) -> WordArray:
    if column is None:
        return words([None] * len(rows))
    return words([str(row[column]).strip() or None if row[column] is not None else None for row in rows])


def _categories(value: object, separator: str) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(name) for name in value if name)
    names = [] if value is None else str(value).split(separator)
    return tuple(name.strip() for name in names if name.strip())


def _year(value: object, item: object, path: Path, door: Door) -> float:
    if value in (None, ""):
        return float("nan")
    found = re.search(r"\d{4}", str(value))
    if found:
        return float(found[0])
    told = f"year '{value}' of item {item} is not a year"
    door.refuse(shown(path), told, CORRECT, reason="the year of an item is none (left blank)")
    return float("nan")
