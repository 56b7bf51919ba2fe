"""Putting a file's columns together into a data set, once they have passed the checks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import BoolArray, FloatArray, IdArray, IntArray, WordArray
from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.errors import DataError
from simenv.interactions import NO_TIME, Interactions

from .checks import CORRECT, Door, need_choice, problem

LATEST = 4_102_444_800  # the year 2100, in seconds


@dataclass(frozen=True)
class Log:
    """Interactions as their file has them, row by row."""

    file: str
    place: Callable[[int], str]  # where a row stands in the file, such as "line 7"
    users: Any  # [N] pyarrow array of int64 or string
    items: Any  # [N] likewise
    ratings: FloatArray | None = None  # [N], NaN where absent
    times: IntArray | None = None  # [N] seconds, NO_TIME where absent
    order: IntArray | None = None  # [N], which of a user's rows is older
    strengths: FloatArray | None = None  # [N], NaN where absent
    published: Mapping[str, WordArray] = field(default_factory=dict)  # each [N]

    def __len__(self) -> int:
        return len(self.users)

    def pairs(self, users: IdArray, items: IdArray) -> IntArray:
        """Return one number for each row's user and item, -1 where one of them is not among these: [N]."""
        user, item = positions(self.users, users).astype(np.int64), positions(self.items, items)
        return np.where((user < 0) | (item < 0), -1, user * len(items) + item)

    def without(self, rows: BoolArray) -> "Log":
        """Return the log less these rows."""
        if not rows.any():
            return self
        kept = np.flatnonzero(~rows)
        place = self.place

        def some(column: Any) -> Any:
            return None if column is None else column[kept]

        return replace(
            self,
            place=lambda row: place(int(kept[row])),
            users=self.users.take(pa.array(kept)),
            items=self.items.take(pa.array(kept)),
            ratings=some(self.ratings),
            times=some(self.times),
            order=some(self.order),
            strengths=some(self.strengths),
            published={name: words[kept] for name, words in self.published.items()},
        )

    def refuse(self, door: Door, rows: BoolArray, what: Callable[[int], str], remedy: str, reason: str = "") -> "Log":
        """Tell the door of these rows, if there are any, and return the log less them."""
        if rows.any():
            first = int(rows.argmax())
            door.refuse(self.file, what(first), remedy, self.place(first), int(rows.sum()) - 1, reason)
        return self.without(rows)


def assemble(
    name: str,
    log: Log,
    catalog: Catalog | None = None,
    users: Users | None = None,
    *,
    door: Door,
    rating_range: tuple[float, float] | None = None,
    duplicates: str = "error",
    unknown: str = "error",
) -> Dataset:
    """Return the data set, or tell the door what is wrong with it.

    Without a catalogue or users, they are those of the log, in the order of their ids.
    `duplicates` says what becomes of rows that repeat an earlier one (error, first, last),
    `unknown` what becomes of rows whose user or item is not listed (error, drop).
    """
    need_choice("duplicates", duplicates, ("error", "first", "last"))
    need_choice("unknown", unknown, ("error", "drop"))
    if not len(log):
        raise DataError(problem(log.file, "no row in it", "give a file with interactions"))
    log = _with_ids(log, door)
    log = _with_ratings(log, door, rating_range)
    log = _with_times(log, door)
    if catalog is None:
        catalog = bare_catalog(sorted_ids(log.items))
    if users is None:
        users = Users(sorted_ids(log.users))
    log = _listed(log, "user", log.users, users.ids, unknown, door)
    log = _listed(log, "item", log.items, catalog.ids, unknown, door)
    log = _unrepeated(log, users.ids, catalog.ids, duplicates, door)
    if not len(log):
        raise DataError(problem(log.file, "no row is left that can be read", "correct the file"))
    interactions, rows = Interactions.sort(
        positions(log.users, users.ids),
        positions(log.items, catalog.ids),
        log.ratings,
        log.times,
        _order(log),
    )
    if log.strengths is not None:
        interactions = replace(interactions, strengths=log.strengths[rows].astype(np.float32))
    published = {split: words[rows] for split, words in log.published.items()}
    return Dataset(name, catalog, users, interactions, published)


def as_ids(column: Any, what: str) -> Any:
    """Return a column of ids as int64 where they are whole numbers, else as text."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column
    try:
        return column.cast(pa.int64())  # whole numbers that were stored as floats, for their blanks
    except pa.ArrowException:
        raise DataError(f"{what} is {column.type}; give whole numbers or text") from None


def whole_if_all(column: Any) -> Any:
    """Return texts as int64 where each is a whole number written plainly, else as they are."""
    try:
        numbers = column.cast(pa.int64())
    except pa.ArrowException:
        return column
    return numbers if pc.all(pc.equal(numbers.cast(column.type), column)).as_py() else column


def id_array(column: Any) -> IdArray:
    """Return ids as int64, or as str objects."""
    if pa.types.is_integer(column.type):
        return np.asarray(column, dtype=np.int64)
    return np.array(column.to_pylist(), dtype=object)


def ids_of(listed: Iterable[int | str]) -> IdArray:
    """Return these ids as int64, or as str objects where one is text."""
    ids = list(listed)
    if all(isinstance(one, int) for one in ids):
        return np.array(ids, dtype=np.int64)
    return words([str(one) for one in ids])


def sorted_ids(column: Any) -> IdArray:
    """Return each id once, in order; blank ones are left out."""
    ids = pc.unique(column.drop_null())
    return id_array(ids.take(pc.array_sort_indices(ids)))


def positions(column: Any, ids: IdArray) -> IntArray:
    """Return where each row's id stands among `ids`, -1 where it doesn't: [N]."""
    listed = pa.array(ids, column.type)
    found = pc.fill_null(pc.index_in(column, listed), -1)
    return np.asarray(found, dtype=np.int32)


def words(values: Sequence[str | None]) -> WordArray:
    """Return texts as an array of objects."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def bare_catalog(ids: IdArray) -> Catalog:
    """Return a catalogue of which nothing but the ids is known."""
    nothing = words([None] * len(ids))
    return Catalog(ids, nothing, ((),) * len(ids), nothing, np.full(len(ids), np.nan))


def numbers(column: Any) -> FloatArray:
    """Return a column as floats, NaN where blank."""
    return np.asarray(column.cast(pa.float32()), dtype=np.float32)


def seconds(column: Any) -> IntArray:
    """Return a column as whole seconds, NO_TIME where blank."""
    return np.asarray(pc.fill_null(column.cast(pa.int64()), NO_TIME), dtype=np.int64)


def _with_ids(log: Log, door: Door) -> Log:
    log = log.refuse(door, is_blank(log.users), lambda _: "the user id is blank", CORRECT)
    return log.refuse(door, is_blank(log.items), lambda _: "the item id is blank", CORRECT)


def is_blank(ids: Any) -> BoolArray:
    """Tell which ids are missing, or hold nothing but spaces."""
    if pa.types.is_integer(ids.type):
        return np.asarray(pc.is_null(ids), dtype=bool)
    return np.asarray(pc.equal(pc.utf8_trim_whitespace(pc.fill_null(ids, "")), ""), dtype=bool)


def _with_ratings(log: Log, door: Door, allowed: tuple[float, float] | None) -> Log:
    ratings = log.ratings
    if ratings is None:
        return log
    if allowed is None:
        bad, limits = np.isinf(ratings), "not a number"
    else:
        low, high = allowed
        bad, limits = ~((ratings >= low) & (ratings <= high)), f"outside {low:g}..{high:g}"

    def what(row: int) -> str:
        return "the rating is blank" if np.isnan(ratings[row]) else f"rating {ratings[row]:g} is {limits}"

    return log.refuse(door, bad, what, CORRECT, f"the rating is blank or {limits}")


def _with_times(log: Log, door: Door) -> Log:
    times = log.times
    if times is None:
        return log
    early = (times < 0) & (times != NO_TIME)
    late = times > LATEST
    log = log.refuse(door, early, lambda row: f"timestamp {times[row]} is negative", CORRECT, "the time is before 1970")
    if early.any():
        return _with_times(log, door)
    return log.refuse(
        door,
        late,
        lambda row: f"timestamp {times[row]} is after the year 2100",
        "give seconds since 1970 (milliseconds must be divided by 1000)",
        "the time is after 2100",
    )


def _listed(log: Log, what: str, column: Any, ids: IdArray, unknown: str, door: Door) -> Log:
    if pa.types.is_integer(column.type) != (ids.dtype != object):
        kinds = ("whole numbers", "text") if ids.dtype == object else ("text", "whole numbers")
        told = f"{what} ids are {kinds[0]}, but {kinds[1]} in the file that lists the {what}s"
        raise DataError(problem(log.file, told, "write both in one way"))
    rows = positions(column, ids) < 0
    if unknown == "drop":
        door.leave_out(f"the {what} is not listed", int(rows.sum()))
        return log.without(rows)
    remedy = f"list the {what}, or give unknown=drop to leave such rows out"
    return log.refuse(
        door,
        rows,
        lambda row: f"{what} {column[row]} is not among the {what}s listed",
        remedy,
        f"the {what} is not listed",
    )


def _unrepeated(log: Log, users: IdArray, items: IdArray, keep: str, door: Door) -> Log:
    pairs = log.pairs(users, items)
    ordered = np.sort(pairs)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return log
    # The same pair may stand in two splits, or at two times: only the whole key makes a repeat.
    seen: dict[tuple[object, ...], int] = {}
    repeated = np.zeros(len(log), dtype=bool)
    for row in np.flatnonzero(np.isin(pairs, twice)).tolist():
        time = None if log.times is None else int(log.times[row])
        key = (int(pairs[row]), time, *(split[row] for split in log.published.values()))
        if key in seen:
            repeated[seen[key] if keep == "last" else row] = True
        if keep == "last" or key not in seen:
            seen[key] = row
    if keep != "error":
        door.leave_out("the same user and item stand in another row", int(repeated.sum()))
        return log.without(repeated)
    return log.refuse(
        door,
        repeated,
        lambda row: f"user {log.users[row]} and item {log.items[row]} stand together a second time",
        "drop one, or give duplicates=first (or last) to keep one",
        "the same user and item stand in another row",
    )


def _order(log: Log) -> IntArray:
    if log.order is not None:
        return log.order
    # Times order a user's rows only where every row has one; else the file's own order is the better guide.
    if log.times is not None and not (log.times == NO_TIME).any():
        return log.times
    return np.arange(len(log))
