"""Amazon reviews of 2014 and 2018: JSON lines with their metadata, or the table of ratings alone."""

import ast
import html
import json
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simenv.catalog import Catalog
from simenv.dataset import Dataset
from simenv.errors import DataError

from .assembly import Log, as_ids, assemble, numbers, seconds, sorted_ids, words
from .checks import STRICT, Door, need_choice, need_file, problem, shown
from .textfile import Tally, TextLayout, first_line, gather, read_columns, rows, text_lines

KINDS = {
    "reviewerID": pa.string(),
    "asin": pa.string(),
    "overall": pa.float32(),
    "unixReviewTime": pa.int64(),
}
ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
TABLES = (".csv", ".csv.gz")


def recognises(source: Path) -> bool:
    """Tell whether a file, or one in a folder, holds Amazon reviews."""
    return any(_has_reviews(file) for file in _review_files(source))


def read(
    source: Path,
    *,
    meta: str | None = None,
    order: str | None = None,
    name: str | None = None,
    duplicates: str = "error",
    door: Door = STRICT,
) -> Dataset:
    """Return the reviews of a file, or of the one such file in a folder.

    The catalogue holds the items reviewed, with what `meta` (by default the file `meta_*` beside the
    reviews) says of them. `order` is that of a table of ratings: user,item in 2014, item,user in 2018.
    """
    file = _reviews_of(source)
    log = _table_log(file, order, door) if file.name.endswith(TABLES) else _json_log(file, door)
    ids = sorted_ids(log.items)
    beside = [Path(meta)] if meta else sorted(file.parent.glob("meta_*.json*"))
    told = _metadata(need_file(beside[0]), set(ids.tolist()), door) if beside else {}
    return assemble(
        name or source.resolve().name.partition(".")[0],
        log,
        _catalog(ids.tolist(), told),
        door=door,
        rating_range=(0.0, 5.0),
        duplicates=duplicates,
    )


def _review_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return [
        file
        for file in sorted(source.iterdir())
        if file.is_file() and file.name.endswith((*ENDINGS, *TABLES)) and not file.name.startswith(("meta_", "."))
    ]


def _reviews_of(source: Path) -> Path:
    files = [file for file in _review_files(source) if source.is_file() or _has_reviews(file)]
    if not files:
        raise DataError(problem(shown(source), "holds no file of reviews", "give the file itself"))
    if len(files) > 1:
        there = ", ".join(file.name for file in files)
        raise DataError(problem(shown(source), f"holds {len(files)} files of reviews", f"give one of {there}"))
    return need_file(files[0])


def _has_reviews(file: Path) -> bool:
    if file.name.endswith(ENDINGS):
        return '"reviewerID"' in first_line(file)
    if not file.name.endswith(TABLES):
        return False
    fields = first_line(file).split(",")
    return _order_of(fields) is not None or (len(fields) == 4 and file.name.startswith("ratings_"))


def _json_log(file: Path, door: Door) -> Log:
    tally = Tally()
    columns = gather(file, records(file, tally), KINDS, tally, door)
    user, item, rating, time = columns.data.values()
    return Log(
        columns.file,
        columns.place,
        as_ids(user, "reviewerID"),
        as_ids(item, "asin"),
        numbers(rating),
        seconds(time),
    )


def records(file: Path, tally: Tally) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number and the record of each line, be it JSON or a Python literal as in 2014."""
    for line, text in text_lines(file, "utf-8", tally):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except ValueError:
            record = _literal(text.strip())
        if isinstance(record, dict):
            yield line, record
        else:
            tally.add("record", f"line {line}", "not a JSON record")


def _literal(text: str) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _table_log(file: Path, order: str | None, door: Door) -> Log:
    if order is None:
        order = _guess_order(file)
    need_choice("order", order, ("user,item", "item,user"))
    kinds = {"user": pa.string(), "item": pa.string(), "rating": pa.float32(), "timestamp": pa.int64()}
    layout = TextLayout((*order.split(","), "rating", "timestamp"))
    columns = read_columns(file, layout, kinds, door)
    user, item, rating, time = (columns.data[name] for name in kinds)
    return Log(
        columns.file,
        columns.place,
        as_ids(user, "user"),
        as_ids(item, "item"),
        numbers(rating),
        seconds(time),
    )


def _guess_order(file: Path) -> str:
    layout = TextLayout(("one", "other", "rating", "timestamp"))
    guesses = {_order_of(fields) for _, fields in islice(rows(file, layout, Tally()), 1000)} - {None}
    if len(guesses) != 1:
        what = "its columns may be user,item or item,user"
        raise DataError(problem(shown(file), what, "give order=user,item (2014) or order=item,user (2018)"))
    return str(guesses.pop())


def _order_of(fields: list[str]) -> str | None:
    """Tell the order of a row of ratings: an item's number has ten characters, a user's mostly more."""
    if len(fields) != 4 or not fields[3].strip().isdigit():
        return None
    one, other = (len(field.strip()) for field in fields[:2])
    if one > 10 and other == 10 and fields[0].startswith("A"):
        return "user,item"
    return "item,user" if other > 10 and one == 10 and fields[1].startswith("A") else None


def _metadata(file: Path, wanted: set[str], door: Door) -> dict[str, dict[str, Any]]:
    tally = Tally()
    told = {}
    for line, record in records(file, tally):
        if not record.get("asin"):
            tally.add("asin", f"line {line}", "the asin is blank")
        elif record["asin"] in wanted:
            told[str(record["asin"])] = record
    tally.tell(shown(file), door)
    return told


def _catalog(ids: list[str], told: dict[str, dict[str, Any]]) -> Catalog:
    records = [told.get(one, {}) for one in ids]
    return Catalog(
        ids=words(ids),
        titles=words([_text([record.get("title")]) for record in records]),
        categories=tuple(_categories(record) for record in records),
        descriptions=words([_description(record) for record in records]),
        years=np.full(len(ids), np.nan),
    )


def _categories(record: dict[str, Any]) -> tuple[str, ...]:
    named = _flat(record.get("category") or record.get("categories"))
    return tuple(dict.fromkeys(html.unescape(name).strip() for name in named if name.strip()))


def _description(record: dict[str, Any]) -> str | None:
    brand = _text([record.get("brand")])
    return _text([f"By {brand}." if brand else None, *_flat(record.get("description"))])


def _flat(value: object) -> Iterator[str]:
    """Yield the texts in a text, in a list of texts (2018) or in lists of them (2014)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _flat(part)


def _text(parts: Iterable[object]) -> str | None:
    joined = " ".join(part for part in parts if isinstance(part, str))
    return " ".join(html.unescape(joined).split()) or None
