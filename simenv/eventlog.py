"""The event log: append-only, one row per shown item and one per page.

A folder holds `events/part-*.parquet` and `pages/part-*.parquet`. A part tells of some users' whole
sessions under one policy. Its events are written first and its pages last, each file in one
move: users whose pages stand are finished, and whatever a crash left half-done is written again.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .arrays import BoolArray, FloatArray, GradeArray, IdArray, IntArray
from .dataset import Dataset
from .errors import RunError
from .log_checks import check_columns, check_contiguous, check_unique, new_groups
from .pages import EMPTY, GRADE_WORDS, Turn

EVENT_ORDER = ("policy", "seed", "user_id", "page", "rank")
PAGE_ORDER = ("policy", "seed", "user_id", "page")
WORD_COLUMNS = ["policy", "grade", "exit_cause"]
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class EventLog:
    """Writes and reads the events and pages of a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, policy: str, seed: int, dataset: Dataset, turns: Sequence[Turn]) -> None:
        """Append the whole sessions of some users, given as the turns they took."""
        self.write_seeds(policy, dataset, {seed: turns})

    def write_seeds(self, policy: str, dataset: Dataset, turns: Mapping[int, Sequence[Turn]]) -> None:
        """Append the whole sessions of some users under several seeds, as one part."""
        told = {seed: mine for seed, mine in turns.items() if mine}
        if not told:
            return
        if not PLAIN_NAME.fullmatch(policy):
            raise RunError(f"policy name '{policy}': it names files, so use letters, digits, '.', '_' and '-'")
        # No session is written twice, so its first session tells a part from all others.
        first = min(told)
        name = f"part-{policy}-{first}-{min(int(turn.page.users.min()) for turn in told[first])}.parquet"
        events = [_event_table(policy, seed, dataset, told[seed]) for seed in sorted(told)]
        pages = [_page_table(policy, seed, dataset, told[seed]) for seed in sorted(told)]
        _write_part(self.folder / "events" / name, pa.concat_tables(events))
        _write_part(self.folder / "pages" / name, pa.concat_tables(pages))

    def drop(self, unwanted: Callable[[pa.Table], bool]) -> int:
        """Take out the parts whose pages are unwanted, to be played again; return how many sessions they held."""
        count = 0
        for part in self._finished_parts():
            with self._blaming("pages"):
                pages = pq.read_table(self.folder / "pages" / part)
            if unwanted(pages):
                count += pages.group_by(["seed", "user_id"]).aggregate([]).num_rows
                (self.folder / "pages" / part).unlink()  # first: without its pages a part is none
                (self.folder / "events" / part).unlink(missing_ok=True)
        return count

    def finished(self, policy: str, seed: int) -> set[object]:
        """Return the ids of the users whose sessions under this policy and seed are in the log."""
        return {user for one, user in self.sessions(policy) if one == seed}

    def sessions(self, policy: str) -> set[tuple[int, object]]:
        """Return the seed and the user's id of every session under this policy that is in the log."""
        parts = [part for part in self._finished_parts() if part.startswith(f"part-{policy}-")]
        columns = ["policy", "seed", "user_id"]
        with self._blaming("pages"):
            tables = [pq.read_table(self.folder / "pages" / part, columns=columns) for part in parts]
        rows = [row for table in tables for row in table.to_pylist()]
        return {(row["seed"], row["user_id"]) for row in rows if row["policy"] == policy}

    def events(self) -> pa.Table:
        """Return one row per shown item, in the log's canonical order."""
        return self._read("events", EVENT_ORDER)

    def pages(self) -> pa.Table:
        """Return one row per page, in the log's canonical order."""
        return self._read("pages", PAGE_ORDER)

    def _finished_parts(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "pages").glob("part-*.parquet"))

    def _read(self, kind: str, order: Sequence[str]) -> pa.Table:
        parts = self._finished_parts()
        if not parts:
            raise RunError(f"{self.folder}: no finished sessions in its log; run the scenario there first")
        with self._blaming(kind):
            tables = [pq.read_table(self.folder / kind / part, read_dictionary=WORD_COLUMNS) for part in parts]
            table = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
        check_columns(table, kind, self.folder)
        table = in_order(table, order)
        ranks = [_ranks(table[name]) for name in order]
        check_unique(table, kind, self.folder, ~new_groups(ranks)[1:])
        if kind == "pages":
            check_contiguous(table, new_groups(ranks[:3]), self.folder)
        return table

    @contextmanager
    def _blaming(self, kind: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{self.folder / kind}: a part of the log is damaged: {error}") from None


def grade_numbers(words: pa.ChunkedArray) -> GradeArray:
    """Return the grades that a column of the log tells by their words."""
    numbers = {word: grade for grade, word in enumerate(GRADE_WORDS.tolist())}
    return np.array([numbers[word] for word in words.to_pylist()], dtype=np.int8)


def in_order(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return the rows sorted by these columns; rows that stand so already cost next to nothing."""
    ranks = [_ranks(table[column]) for column in columns]
    spans = [int(rank.max(initial=0)) + 1 for rank in ranks]
    if math.prod(spans) > np.iinfo(np.int64).max:  # ids of many digits leave no room for one number a row
        return table.take(pa.array(np.lexsort(ranks[::-1])))
    place = np.zeros(len(table), dtype=np.int64)
    for rank, span in zip(ranks, spans, strict=True):
        place = place * span + rank
    if (place[1:] >= place[:-1]).all():
        return table
    return table.take(pa.array(np.argsort(place, kind="stable")))


def _ranks(column: pa.ChunkedArray) -> IntArray:
    """Return each row's value as a number, in the order of the values."""
    if pa.types.is_integer(column.type):
        values = column.to_numpy().astype(np.int64)
        return values - values.min(initial=0)
    flat = column.combine_chunks()
    encoded = flat if isinstance(flat, pa.DictionaryArray) else flat.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    rank = np.empty(len(words), dtype=np.int64)
    rank[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words))
    return rank[encoded.indices.to_numpy(zero_copy_only=False)]


def _event_table(policy: str, seed: int, dataset: Dataset, turns: Sequence[Turn]) -> pa.Table:
    users, number, order = _in_order(dataset, turns)
    size = turns[0].page.items.shape[1]
    items = np.concatenate([turn.page.items for turn in turns])[order].reshape(-1)
    full = np.flatnonzero(items != EMPTY)
    place = full // size
    grades = np.concatenate([turn.reaction.grades for turn in turns])[order].reshape(-1)[full]
    ratings = np.concatenate([turn.reaction.ratings for turn in turns])[order].reshape(-1)[full]
    known = np.concatenate([_known(turn) for turn in turns])[order].reshape(-1)[full]
    propensities = _propensities(turns, order)
    return pa.table(
        {
            "policy": _repeat(policy, len(full)),
            "seed": np.full(len(full), seed, dtype=np.int64),
            "user_id": _ids(dataset.users.ids, users[place]),
            "page": number[place].astype(np.int32),
            "rank": (full % size).astype(np.int32),
            "item_id": _ids(dataset.catalog.ids, items[full]),
            "grade": pa.DictionaryArray.from_arrays(pa.array(grades), pa.array(GRADE_WORDS)).cast(pa.string()),
            "known": pa.array(known),
            "rating": pa.array(ratings.astype(np.float64), from_pandas=True),
            "propensity": pa.nulls(len(full), pa.float64())
            if propensities is None
            else pa.array(propensities[full], from_pandas=True),
        }
    )


def _known(turn: Turn) -> BoolArray:
    """Return for each place whether its grade is the user's own answer and no guess: [B, K]."""
    known = turn.reaction.known
    return np.ones(turn.page.items.shape, dtype=bool) if known is None else np.asarray(known, dtype=bool)


def _page_table(policy: str, seed: int, dataset: Dataset, turns: Sequence[Turn]) -> pa.Table:
    users, number, order = _in_order(dataset, turns)
    causes = np.concatenate([turn.reaction.causes for turn in turns])[order]
    words: list[str | None] = []
    for turn in turns:
        words.extend(turn.reaction.words or [None] * len(turn.page.users))
    return pa.table(
        {
            "policy": _repeat(policy, len(users)),
            "seed": np.full(len(users), seed, dtype=np.int64),
            "user_id": _ids(dataset.users.ids, users),
            "page": number.astype(np.int32),
            "satisfaction": np.concatenate([turn.reaction.satisfaction for turn in turns])[order].astype(np.float64),
            "exit": np.concatenate([turn.reaction.exits for turn in turns])[order],
            "exit_cause": pa.array([cause or None for cause in causes], pa.string()),
            "words": pa.array([words[row] for row in order], pa.string()),
        }
        | _asked(turns, order)
    )


def _asked(turns: Sequence[Turn], order: IntArray) -> dict[str, pa.Array]:
    """Return the columns that only users who were asked in words have."""
    if any(turn.reaction.readings is None for turn in turns):
        return {}
    readings = np.concatenate([turn.reaction.readings for turn in turns if turn.reaction.readings is not None])
    verdicts = np.concatenate([_verdicts(turn) for turn in turns])
    remembered = [one for turn in turns for one in turn.reaction.remembered or [None] * len(turn.page.users)]
    asked = [one for turn in turns for one in turn.reaction.asked or [None] * len(turn.page.users)]
    return {
        "reading": pa.array(readings[order].tolist(), pa.string()),
        "remembered": pa.array([remembered[row] for row in order], pa.string()),
        "asked": pa.array([asked[row] for row in order], pa.string()),
        "verdict": pa.array(verdicts[order], from_pandas=True),
    }


def _verdicts(turn: Turn) -> FloatArray:
    known = turn.reaction.verdicts
    return np.full(len(turn.page.users), np.nan) if known is None else known.astype(np.float64)


def _in_order(dataset: Dataset, turns: Sequence[Turn]) -> tuple[IntArray, IntArray, IntArray]:
    """Return users and page numbers by user id and page, and the old row number of each."""
    users = np.concatenate([turn.page.users for turn in turns])
    number = np.concatenate([turn.page.number for turn in turns])
    order = np.lexsort((number, dataset.users.ranks[users]))
    return users[order], number[order], order


def _propensities(turns: Sequence[Turn], order: IntArray) -> np.ndarray[Any, Any] | None:
    if all(turn.page.propensities is None for turn in turns):
        return None
    parts = [
        np.full(turn.page.items.shape, np.nan) if turn.page.propensities is None else turn.page.propensities
        for turn in turns
    ]
    return np.concatenate(parts)[order].reshape(-1).astype(np.float64)


def _repeat(word: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int8), pa.array([word])).cast(pa.string())


def _ids(ids: IdArray, rows: np.ndarray[Any, Any]) -> pa.Array:
    if ids.dtype.kind in "iu":
        return pa.array(ids[rows])
    return pa.DictionaryArray.from_arrays(pa.array(rows.astype(np.int32)), pa.array(ids, pa.string())).cast(pa.string())


def _write_part(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
