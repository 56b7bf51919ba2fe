"""Tables in text files: read at once by pyarrow, and row by row where that stumbles."""

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

from simenv.errors import DataError

from .checks import CORRECT, Door, need_columns, need_file, problem, shown

DELIMITERS = (",", ";", "\t", "|")
CHUNK = 100_000  # rows held as Python values at a time
CUT_OFF = "fetch it again, it is cut off or not a gzip file"


@dataclass(frozen=True)
class TextLayout:
    """How a text file is laid out."""

    columns: tuple[str, ...] = ()  # empty until read from the first line
    delimiter: str = ","
    encoding: str = "utf-8"
    quoted: bool = True
    headed: bool = False  # the first line names the columns


@dataclass(frozen=True)
class Columns:
    """The columns asked for, and where each row stands in the file."""

    file: str
    data: Mapping[str, Any]  # pyarrow chunked arrays, null where blank
    place: Callable[[int], str]  # of a row number, such as "line 7"


def read_columns(path: Path, layout: TextLayout, kinds: Mapping[str, Any], door: Door) -> Columns:
    """Return the columns named in `kinds`, each as its pyarrow type."""
    need_file(path)
    layout = named(path, layout)
    need_columns(path, layout.columns, kinds)
    try:
        table = _read_at_once(path, layout, kinds)
    except (pa.ArrowException, OSError, UnicodeError):
        return _read_by_row(path, layout, kinds, door)

    def place(row: int) -> str:
        line, _ = next(islice(rows(path, layout, Tally()), row, None), (None, []))
        return f"line {line}" if line else f"row {row + 1}"

    return Columns(shown(path), {name: table[name] for name in kinds}, place)


def named(path: Path, layout: TextLayout) -> TextLayout:
    """Return the layout with its columns, from the file's first line where it has none."""
    if layout.columns:
        return layout
    for _, fields in _fields(path, layout, Tally()):
        return replace(layout, columns=tuple(field.strip() for field in fields), headed=True)
    raise DataError(problem(shown(path), "the file is empty", "fetch or export it again"))


def read_listing(
    path: Path,
    layout: TextLayout,
    key: str,
    door: Door,
    needed: tuple[str, ...] = (),
    whole: bool = True,
) -> dict[int | str, dict[str, str]]:
    """Return each row by its id in column `key`; ids are `whole` numbers or else texts."""
    need_file(path)
    layout = named(path, layout)
    need_columns(path, layout.columns, (key, *needed))
    tally = Tally()
    listed: dict[int | str, dict[str, str]] = {}
    lines: dict[int | str, int] = {}
    for line, fields in rows(path, layout, tally):
        row = dict(zip(layout.columns, fields, strict=True))
        try:
            one: int | str = _whole(row[key]) if whole else row[key].strip()
        except ValueError:
            what = f"{key} '{row[key]}' is not a whole number" if row[key] else f"{key} is blank"
            tally.add("id", f"line {line}", what, reason=f"{key} is not a whole number")
            continue
        if one == "":
            tally.add("blank", f"line {line}", f"{key} is blank")
        elif one in listed:
            what = f"{key} {one} stands in line {lines[one]} already"
            tally.add("twice", f"line {line}", what, "drop one of them", f"{key} stands in another line already")
        else:
            listed[one], lines[one] = row, line
    tally.tell(shown(path), door)
    if not listed:
        raise DataError(problem(shown(path), "no row in it", "fetch or export it again"))
    return listed


class Tally:
    """Problems of one kind are told once, with their number."""

    def __init__(self) -> None:
        self.first: dict[str, tuple[str, str, str]] = {}
        self.reasons: dict[str, str] = {}  # the same for all rows of a kind
        self.count: dict[str, int] = {}

    def add(self, kind: str, place: str, what: str, remedy: str = CORRECT, reason: str = "") -> None:
        """Note a problem of this kind."""
        self.reasons.setdefault(kind, reason)
        self.first.setdefault(kind, (what, remedy, place))
        self.count[kind] = self.count.get(kind, 0) + 1

    def tell(self, file: str, door: Door) -> None:
        """Hand the problems to the door."""
        for kind, (what, remedy, place) in self.first.items():
            door.refuse(file, what, remedy, place, self.count[kind] - 1, self.reasons.get(kind, ""))


def rows(path: Path, layout: TextLayout, tally: Tally) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each row that has as many as the layout."""
    fields = _fields(path, layout, tally)
    if layout.headed:
        next(fields, None)
    for line, row in fields:
        if len(row) == len(layout.columns):
            yield line, row
        else:
            wanted = f"{len(row)} fields where {len(layout.columns)} are due ({', '.join(layout.columns)})"
            reason = f"a line has not {len(layout.columns)} fields"
            tally.add("fields", f"line {line}", wanted, reason=reason)


def _fields(path: Path, layout: TextLayout, tally: Tally) -> Iterator[tuple[int, list[str]]]:
    lines = text_lines(path, layout.encoding, tally)
    if len(layout.delimiter) > 1:
        for line, text in lines:
            if text.strip():
                yield line, text.rstrip("\r\n").split(layout.delimiter)
        return
    last = [0]

    def texts() -> Iterator[str]:
        for line, text in lines:
            last[0] = line
            yield text

    reader = csv.reader(
        texts(),
        delimiter=layout.delimiter,
        quoting=csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE,
    )
    while True:
        start = last[0] + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            tally.add("csv", f"line {start}", str(error), reason="a line is no csv")
            continue
        if row and any(row):
            yield start, row


def text_lines(path: Path, encoding: str, tally: Tally) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that can be read."""
    number = 0
    with open_bytes(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode(encoding)
                except UnicodeDecodeError as error:
                    byte = f"byte {line[error.start]:#04x} is not {encoding} text"
                    remedy = "save the file as UTF-8, or give its encoding (encoding=latin-1)"
                    tally.add("encoding", f"line {number}", byte, remedy, f"a line is not {encoding} text")
                    continue
                except LookupError:
                    raise DataError(f"encoding={encoding}: no such encoding; try utf-8 or latin-1") from None
                yield number, text.removeprefix("\ufeff") if number == 1 else text
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            what = f"cannot be unpacked ({error})"
            raise DataError(problem(shown(path), what, CUT_OFF, f"line {number + 1}")) from None


def first_line(path: Path) -> str:
    """Return the first line of a text file, empty where there is none or it can't be read."""
    try:
        return next((text for _, text in text_lines(path, "utf-8", Tally())), "").rstrip("\r\n")
    except (DataError, OSError):
        return ""


def delimiter_of(path: Path, usual: str) -> str:
    """Return what stands between the fields of a text file's first line, the usual sign where that does not tell."""
    bare = re.sub(r'"[^"]*"', "", first_line(path))
    count = {sign: bare.count(sign) for sign in (usual, *DELIMITERS)}
    return max(count, key=count.__getitem__)


def first_row(path: Path, delimiter: str = ",") -> list[str]:
    """Return the fields of the first line of a text file, none where there is no such line."""
    try:
        return next(csv.reader([first_line(path)], delimiter=delimiter), [])
    except csv.Error:
        return []


def open_bytes(path: Path) -> IO[bytes]:
    """Open the file, unpacked where its name ends in `.gz`."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read_at_once(path: Path, layout: TextLayout, kinds: Mapping[str, Any]) -> Any:
    # pyarrow knows delimiters of one character only: "::" is read as ":" with an empty column between.
    names = list(layout.columns)
    if layout.delimiter == "::":
        names = [part for name in names for part in (name, f"after {name}")][:-1]
    types = {name: kinds.get(name, pa.string()) for name in names}
    return pyarrow.csv.read_csv(
        path,
        pyarrow.csv.ReadOptions(
            column_names=names,
            skip_rows=int(layout.headed),
            encoding=layout.encoding,
            block_size=1 << 24,
        ),
        pyarrow.csv.ParseOptions(
            delimiter=layout.delimiter[0],
            quote_char='"' if layout.quoted else False,
            newlines_in_values=layout.quoted,
        ),
        pyarrow.csv.ConvertOptions(
            column_types=types,
            include_columns=list(kinds),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _read_by_row(path: Path, layout: TextLayout, kinds: Mapping[str, Any], door: Door) -> Columns:
    tally = Tally()
    records = ((line, dict(zip(layout.columns, row, strict=True))) for line, row in rows(path, layout, tally))
    return gather(path, records, kinds, tally, door, decimal_comma=layout.delimiter != ",")


def gather(
    path: Path,
    records: Iterable[tuple[int, Mapping[str, object]]],
    kinds: Mapping[str, Any],
    tally: Tally,
    door: Door,
    decimal_comma: bool = False,
) -> Columns:
    """Return the columns of records that come one by one with their lines, less those that can't be read.

    With `decimal_comma` 4,5 is a number too.
    """
    chunks: dict[str, list[Any]] = {name: [] for name in (*kinds, "")}
    values: dict[str, list[object]] = {name: [] for name in (*kinds, "")}

    def close_chunk() -> None:
        for name, some in values.items():
            chunks[name].append(pa.array(some, kinds.get(name, pa.int64())))
            some.clear()

    read = left = 0
    for line, record in records:
        read += 1
        converted: dict[str, object] = {"": line}
        for name, kind in kinds.items():
            value = record.get(name)
            try:
                converted[name] = None if value in (None, "") else _converter(kind, decimal_comma)(value)
            except (ValueError, TypeError, OverflowError):
                wanted = f"is not {_called(kind)}"
                tally.add(name, f"line {line}", f"{name} {value!r} {wanted}", reason=f"{name} {wanted}")
        if len(converted) == len(values):
            for name, some in values.items():
                some.append(converted[name])
            if len(values[""]) == CHUNK:
                close_chunk()
        left += bool(tally.first)
        if left > door.patience:
            break
    close_chunk()
    for name in kinds:
        if read > 1 and tally.count.get(name, 0) == read:
            what, _, place = tally.first[name]
            remedy = f"no row has such a value, so choose another column than '{name}' or correct it"
            tally.first[name] = (what, remedy, place)
    tally.tell(shown(path), door)
    lines = pa.chunked_array(chunks.pop(""))
    data = {name: pa.chunked_array(some, kinds[name]) for name, some in chunks.items()}
    return Columns(shown(path), data, lambda row: f"line {lines[row].as_py()}")


def _converter(kind: Any, decimal_comma: bool) -> Callable[[Any], object]:
    if pa.types.is_timestamp(kind):
        return datetime.fromisoformat
    if pa.types.is_integer(kind):
        return _whole
    if pa.types.is_floating(kind):
        return _with_comma if decimal_comma else float
    return str


def _with_comma(value: object) -> float:
    return float(value.replace(",", ".", 1) if isinstance(value, str) and "." not in value else value)  # type: ignore[arg-type]


def _whole(value: str | float) -> int:
    number = int(value)
    if number != float(value) or abs(number) >= 2**63:
        raise ValueError(value)
    return number


def _called(kind: Any) -> str:
    if pa.types.is_timestamp(kind):
        return "a date such as 2019-03-31 10:00:00"
    return "a whole number" if pa.types.is_integer(kind) else "a number"
