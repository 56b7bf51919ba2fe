"""Preference records: what a user was offered after which past, and how each item was graded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from simenv.arrays import BoolArray, FloatArray, GradeArray, IntArray, WordArray
from simenv.dataset import Dataset
from simenv.errors import DataError
from simenv.pages import Grade

SOURCES = ("logged", "self-play", "simulated")
NONE = -1  # stands where a seed, page, position or level is unknown or has no meaning


@dataclass(frozen=True, eq=False)
class Graded:
    """Items row by row with what became of each: row r has those from `starts[r]` up to `starts[r + 1]`."""

    starts: IntArray  # [R + 1]
    items: IntArray  # [N]
    grades: GradeArray  # [N]
    ratings: FloatArray  # [N], NaN where none is known

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def lengths(self) -> IntArray:
        """How many items each row has: [R]."""
        return np.diff(self.starts)

    @cached_property
    def rows(self) -> IntArray:
        """The row of each item: [N]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def places(self, rows: IntArray) -> IntArray:
        """Return where the items of these rows stand, row after row."""
        return spread(self.starts[rows], self.lengths[rows])

    def where(self, kept: BoolArray) -> "Graded":
        """Return every row with these of its items [N] alone."""
        counts = np.bincount(self.rows[kept], minlength=len(self))
        return Graded(begins(counts), self.items[kept], self.grades[kept], self.ratings[kept])

    def take(self, rows: IntArray) -> "Graded":
        """Return these rows."""
        at = self.places(rows)
        return Graded(begins(self.lengths[rows]), self.items[at], self.grades[at], self.ratings[at])


@dataclass(frozen=True, slots=True)
class Record:
    """One record, to look at."""

    user: int
    history: Sequence[tuple[int, Grade, float]]  # item, grade, rating or NaN; oldest first
    candidates: Sequence[tuple[int, Grade, float]]
    positions: Sequence[int]
    levels: Sequence[int]
    source: str
    run: str
    policy: str
    seed: int
    page: int
    confidence: float


@dataclass(frozen=True, eq=False)
class Records:
    """What users were offered, after which past, and how they graded it; users and items by index.

    A candidate that was never judged is UNSEEN: on a page its user did not look at it; without a
    position it was never shown at all. UNSEEN is never a dislike.
    """

    users: IntArray  # [R]
    history: Graded  # R rows, the prompt: oldest first
    candidates: Graded  # R rows, C items in all
    positions: IntArray  # [C], the rank on its page, from 0; NONE for what was not shown
    levels: IntArray  # [C], how hard a candidate of self-play is: 0 easy, 1 medium, 2 hard; NONE for others
    sources: WordArray  # [R], one of SOURCES
    runs: WordArray  # [R], '' where there was none; so are policies
    policies: WordArray  # [R]
    seeds: IntArray  # [R], NONE where there was none; so are pages
    pages: IntArray  # [R]
    confidence: FloatArray  # [R], 0 to 1: how far the grades are what the user said

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, row: int) -> Record:
        """Return one record, to look at."""
        candidates = slice(self.candidates.starts[row], self.candidates.starts[row + 1])
        return Record(
            int(self.users[row]),
            _told(self.history, row),
            _told(self.candidates, row),
            self.positions[candidates].tolist(),
            self.levels[candidates].tolist(),
            self.sources[row],
            self.runs[row],
            self.policies[row],
            int(self.seeds[row]),
            int(self.pages[row]),
            float(self.confidence[row]),
        )

    @property
    def candidate_users(self) -> IntArray:
        """The user of each candidate: [C]."""
        return self.users[self.candidates.rows]

    def take(self, rows: IntArray | BoolArray) -> "Records":
        """Return these records, by number or by mask."""
        numbers: IntArray = np.arange(len(self))[rows]
        at = self.candidates.places(numbers)
        return Records(
            self.users[numbers],
            self.history.take(numbers),
            self.candidates.take(numbers),
            self.positions[at],
            self.levels[at],
            self.sources[numbers],
            self.runs[numbers],
            self.policies[numbers],
            self.seeds[numbers],
            self.pages[numbers],
            self.confidence[numbers],
        )

    def where(self, *, history: BoolArray, candidates: BoolArray) -> "Records":
        """Return every record with these items of its history and these of its candidates alone."""
        return Records(
            self.users,
            self.history.where(history),
            self.candidates.where(candidates),
            self.positions[candidates],
            self.levels[candidates],
            self.sources,
            self.runs,
            self.policies,
            self.seeds,
            self.pages,
            self.confidence,
        )

    def write(self, path: Path, dataset: Dataset) -> None:
        """Write the records as a parquet file, or into a folder as records.parquet, by the data set's own ids."""
        from .recordfile import write_records

        write_records(self, path, dataset)

    @staticmethod
    def read(path: Path, dataset: Dataset) -> "Records":
        """Return the records of a parquet file, or of a folder that holds one; what is wrong in it is told by row."""
        from .recordfile import read_records

        return read_records(path, dataset)


def make_records(
    users: IntArray,
    history: Graded,
    candidates: Graded,
    source: str,
    *,
    positions: IntArray | None = None,
    levels: IntArray | None = None,
    run: str = "",
    policies: WordArray | str = "",
    seeds: IntArray | int = NONE,
    pages: IntArray | int = NONE,
    confidence: FloatArray | float = 1.0,
) -> Records:
    """Return records of one source; what holds for all of them may be given once."""
    if source not in SOURCES:
        raise DataError(f"source '{source}': there are {', '.join(SOURCES)}")
    count, places = len(users), len(candidates.items)
    if len(history) != count or len(candidates) != count:
        raise DataError(f"{count} users, {len(history)} histories, {len(candidates)} lists of candidates: not one each")
    return Records(
        users.astype(np.int32),
        history,
        candidates,
        np.full(places, NONE, np.int32) if positions is None else positions.astype(np.int32),
        np.full(places, NONE, np.int8) if levels is None else levels.astype(np.int8),
        np.full(count, source, dtype=object),
        np.full(count, run, dtype=object),
        np.full(count, policies, dtype=object),
        np.full(count, seeds, dtype=np.int64),
        np.full(count, pages, dtype=np.int32),
        np.full(count, confidence, dtype=np.float32),
    )


def concat(parts: Sequence[Records]) -> Records:
    """Return the records of all parts, one after the other; they must be of one data set."""
    if not parts:
        raise DataError("no records to put together")
    return Records(
        np.concatenate([part.users for part in parts]),
        _joined([part.history for part in parts]),
        _joined([part.candidates for part in parts]),
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.levels for part in parts]),
        np.concatenate([part.sources for part in parts]),
        np.concatenate([part.runs for part in parts]),
        np.concatenate([part.policies for part in parts]),
        np.concatenate([part.seeds for part in parts]),
        np.concatenate([part.pages for part in parts]),
        np.concatenate([part.confidence for part in parts]),
    )


def begins(counts: IntArray) -> IntArray:
    """Return where each row of so many items begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def spread(starts: IntArray, counts: IntArray) -> IntArray:
    """Return `starts[r], starts[r] + 1, …`, so many of them for each row, row after row."""
    first = np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return first + np.arange(len(first))


def pair_keys(users: IntArray, items: IntArray) -> IntArray:
    """Return one number for each pair of a user and an item."""
    return users.astype(np.int64) << 32 | items.astype(np.int64)


def _joined(parts: Sequence[Graded]) -> Graded:
    return Graded(
        begins(np.concatenate([part.lengths for part in parts])),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.grades for part in parts]),
        np.concatenate([part.ratings for part in parts]),
    )


def _told(graded: Graded, row: int) -> list[tuple[int, Grade, float]]:
    part = slice(graded.starts[row], graded.starts[row + 1])
    columns = (graded.items[part].tolist(), graded.grades[part].tolist(), graded.ratings[part].tolist())
    return [(item, Grade(grade), rating) for item, grade, rating in zip(*columns, strict=True)]
