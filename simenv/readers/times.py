"""Times as people write them: what the texts of a column mean, in whole seconds since 1970."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import BoolArray, IntArray
from simenv.errors import DataError
from simenv.interactions import NO_TIME

LOG = logging.getLogger(__name__)
CLOCK = r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d+)?)?)?"
ZONE = r" ?(?P<zone>Z|UTC|[+-]\d{2}:?(?:\d{2})?)?$"
YEAR, MONTH, DAY = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
PARTS = ("year", "month", "day", "hour", "minute", "second")
NUMBER = r"^[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?$"
WRITTEN = {
    rf"^{YEAR}-{MONTH}-{DAY}{CLOCK}{ZONE}": "a date such as 2019-03-31 10:00:00",
    rf"^{DAY}\.{MONTH}\.{YEAR}{CLOCK}{ZONE}": "a date such as 31.03.2019",
    rf"^{YEAR}/{MONTH}/{DAY}{CLOCK}{ZONE}": "a date such as 2019/03/31",
}
SLASHED = rf"^\d{{1,2}}/\d{{1,2}}/\d{{4}}{CLOCK}{ZONE}"
EARLIEST_MS, LATEST_MS = 10**11, 4_102_444_800_000  # 1973 and 2100, in milliseconds
EXAMPLES = "seconds, milliseconds, 2019-03-31, 2019-03-31T10:00:00Z or 31.03.2019"
FORMATS = "give time_format with Python's signs for dates, such as time_format='%d/%m/%Y %H:%M'"


@dataclass(frozen=True, slots=True)
class Times:
    """Whole seconds, NO_TIME where there is none, and which texts were none that could be read."""

    seconds: IntArray  # [N]
    bad: BoolArray  # [N]
    wanted: str  # what was expected of each, in words


def times_of(texts: Any, column: str, form: str | None = None, *, numbers: bool = True) -> Times:
    """Return the times that a column of texts tells, all written in one way; without a zone they are UTC.

    Which way is found from the column as a whole, unless `form` says it in the signs of `strptime`. Days and months
    between slashes are told apart where a day above 12 is among them; where none is, that is for the user to say.
    """
    plain = pc.utf8_trim_whitespace(texts.cast(pa.string()))
    if isinstance(plain, pa.ChunkedArray):
        plain = plain.combine_chunks()
    blank = np.asarray(pc.fill_null(pc.equal(plain, ""), True), dtype=bool)
    if form is not None:
        return _by_form(plain, blank, form)
    read = {way: partial(_by_parts, way=way, wanted=wanted) for way, wanted in WRITTEN.items()}
    ways: dict[str, Callable[[Any, BoolArray], Times]] = {**({NUMBER: _by_numbers} if numbers else {}), **read}
    ways[SLASHED] = partial(_by_slashes, column=column)
    fitting = {way: int(pc.sum(_matches(plain, way)).as_py() or 0) for way in ways}
    if not any(fitting.values()):
        if blank.all():
            return Times(np.full(len(blank), NO_TIME, dtype=np.int64), np.zeros(len(blank), dtype=bool), "a time")
        first = plain[int(np.argmin(blank))].as_py()
        raise DataError(f"column '{column}': '{first}' is no time as it is known ({EXAMPLES}); {FORMATS}")
    return ways[max(fitting, key=fitting.__getitem__)](plain, blank)


def _matches(texts: Any, way: str) -> Any:
    return pc.fill_null(pc.match_substring_regex(texts, way), False)


def _by_numbers(texts: Any, blank: BoolArray) -> Times:
    good = np.asarray(_matches(texts, NUMBER), dtype=bool)
    values = np.asarray(pc.if_else(pa.array(good), texts, None).cast(pa.float64()), dtype=np.float64)
    known = values[good]
    in_ms = len(known) > 0 and bool(((known >= EARLIEST_MS) & (known <= LATEST_MS)).all())
    if in_ms:
        LOG.info("times are read as milliseconds since 1970")
    whole = np.floor(np.where(good, values / 1000.0 if in_ms else values, 0.0))
    whole = np.clip(whole, -(2.0**62), 2.0**62).astype(np.int64)
    return Times(np.where(good, whole, NO_TIME), ~good & ~blank, "a number")


def _by_slashes(texts: Any, blank: BoolArray, column: str) -> Times:
    """Read days and months between slashes, in the order that only one of them can have."""
    orders = {
        "%d/%m/%Y": rf"^{DAY}/{MONTH}/{YEAR}{CLOCK}{ZONE}",
        "%m/%d/%Y": rf"^{MONTH}/{DAY}/{YEAR}{CLOCK}{ZONE}",
    }
    read = {form: _by_parts(texts, blank, way, f"a date written {form}") for form, way in orders.items()}
    failing = {form: int(times.bad.sum()) for form, times in read.items()}
    fewest = min(failing.values())
    best = [form for form, count in failing.items() if count == fewest]
    if len(best) > 1 and not np.array_equal(read["%d/%m/%Y"].seconds, read["%m/%d/%Y"].seconds):
        first = texts[int(np.argmin(blank))].as_py()
        told = "no row tells which" if not fewest else "some rows can only be the one, and some only the other"
        raise DataError(
            f"column '{column}': '{first}' may be day/month or month/day, and {told};"
            " give time_format='%d/%m/%Y' or time_format='%m/%d/%Y', with the clock where there is one"
        )
    LOG.info("column '%s': dates are read as %s", column, best[0])
    return read[best[0]]


def _by_parts(texts: Any, blank: BoolArray, way: str, wanted: str) -> Times:
    """Read dates by what a pattern finds: whole columns at a time."""
    good = np.asarray(_matches(texts, way), dtype=bool)
    found = pc.extract_regex(pc.if_else(pa.array(good), texts, None), way)
    part = {name: _whole(pc.struct_field(found, name)) for name in PARTS}
    year, month, day = part["year"], part["month"], part["day"]
    good &= (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1)
    good &= (part["hour"] < 24) & (part["minute"] < 60) & (part["second"] < 61)
    plain_month = np.clip(month, 1, 12)
    months = ((year - 1970) * 12 + plain_month - 1).astype("datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int64)
    good &= day <= (months + 1).astype("datetime64[D]").astype(np.int64) - first
    clock = part["hour"] * 3600 + part["minute"] * 60 + part["second"]
    seconds = (first + day - 1) * 86_400 + clock - _zone(pc.struct_field(found, "zone"))
    return Times(np.where(good, seconds, NO_TIME), ~good & ~blank, wanted)


def _whole(texts: Any) -> IntArray:
    told = pc.if_else(pc.equal(texts, ""), "0", texts)
    return np.asarray(pc.fill_null(told, "0").cast(pa.int64()), dtype=np.int64)


def _zone(texts: Any) -> IntArray:
    """Return the seconds that each zone is ahead of UTC."""
    coded = pc.fill_null(texts, "").dictionary_encode()
    ahead = []
    for word in coded.dictionary.to_pylist():
        digits = re.sub(r"\D", "", word)
        size = int(digits[:2] or 0) * 3600 + int(digits[2:] or 0) * 60
        ahead.append(-size if word.startswith("-") else size)
    return np.array([*ahead, 0], dtype=np.int64)[np.asarray(coded.indices)]


def _by_form(texts: Any, blank: BoolArray, form: str) -> Times:
    """Read times by the signs of `strptime`, each different text once."""
    coded = pc.fill_null(texts, "").dictionary_encode()
    known = [_at(word, form) for word in coded.dictionary.to_pylist()]
    seconds = np.array([NO_TIME if one is None else one for one in [*known, None]], dtype=np.int64)
    found = seconds[np.asarray(coded.indices)]
    return Times(np.where(blank, NO_TIME, found), (found == NO_TIME) & ~blank, f"a time written {form}")


def _at(word: str, form: str) -> int | None:
    try:
        found = datetime.strptime(word, form)
    except ValueError:
        return None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() // 1)
