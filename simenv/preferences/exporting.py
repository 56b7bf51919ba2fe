"""Preferences as files that training libraries read: JSON lines or parquet, each row with where it comes from."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simenv.arrays import IntArray
from simenv.dataset import Dataset
from simenv.errors import DataError
from simenv.pages import EMPTY, GRADE_WORDS

from .converting import Labels, Lists, Pairs
from .records import NONE, Records
from .wording import Wording

FORMATS = {
    "trl": "TRL's conversational preferences: prompt, chosen and rejected are lists of messages",
    "plain": "TRL's plain preferences: prompt, chosen and rejected are texts",
    "kto": "TRL's labelled completions: prompt, completion, label",
    "lists": "a row for each past: prompt, the chosen texts, the rejected texts, the gap to each of these",
}
SUFFIXES = (".jsonl", ".parquet")
BATCH = 4096  # rows written at a time
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Export:
    """Preferences and all that it takes to write them out."""

    records: Records
    train: Dataset
    wording: Wording

    def rows(self, found: Pairs | Labels | Lists, form: str) -> Iterator[list[Row]]:
        """Yield the rows of a format, some thousands at a time; first those that show what each column holds."""
        if form not in FORMATS:
            raise DataError(f"format {form}: there are {', '.join(FORMATS)}")
        order = self._telling_first(found)
        for begin in range(0, len(found), BATCH):
            part = order[begin : begin + BATCH]
            if isinstance(found, Pairs):
                yield self._trl(found, part) if form == "trl" else self._plain(found, part)
            else:
                yield self._labels(found, part) if isinstance(found, Labels) else self._lists(found, part)

    def _telling_first(self, found: Pairs | Labels | Lists) -> IntArray:
        """Return the rows in their order, but for each column that may be empty first one where it is not.

        Who reads JSON lines takes the kinds of columns from the first megabytes, and refuses a number after these
        where all before it were empty.
        """
        records, rows = self.records, found.rows
        known = [records.seeds[rows] != NONE, records.pages[rows] != NONE]
        known += [records.runs[rows] != "", records.policies[rows] != ""]
        places = {Pairs: ("chosen_at", "rejected_at"), Labels: ("at",), Lists: ()}[type(found)]
        for at in (getattr(found, place) for place in places):
            known += [~np.isnan(records.candidates.ratings[at]), records.positions[at] != NONE]
        first = sorted({int(column.argmax()) for column in known if column.any()})
        return np.concatenate([first, np.delete(np.arange(len(found)), first)]).astype(np.int64)

    def _trl(self, pairs: Pairs, part: IntArray) -> list[Row]:
        names = self.wording.names
        return _dicts(
            {
                "prompt": [_said("user", prompt) for prompt in self._prompts(pairs.rows[part])],
                "chosen": [_said("assistant", name) for name in names[pairs.chosen[part]]],
                "rejected": [_said("assistant", name) for name in names[pairs.rejected[part]]],
                **self._pair_facts(pairs, part),
            }
        )

    def _plain(self, pairs: Pairs, part: IntArray) -> list[Row]:
        names = self.wording.names
        return _dicts(
            {
                "prompt": [f"{prompt}\nTitle:" for prompt in self._prompts(pairs.rows[part])],
                "chosen": [f" {name}" for name in names[pairs.chosen[part]]],  # a word begins with its space
                "rejected": [f" {name}" for name in names[pairs.rejected[part]]],
                **self._pair_facts(pairs, part),
            }
        )

    def _pair_facts(self, pairs: Pairs, part: IntArray) -> dict[str, list[Any]]:
        ids = self.train.catalog.ids
        return {
            **self._origin(pairs.rows[part]),
            "chosen_item": ids[pairs.chosen[part]].tolist(),
            "rejected_item": ids[pairs.rejected[part]].tolist(),
            **self._judged("chosen", pairs.chosen_at[part]),
            **self._judged("rejected", pairs.rejected_at[part]),
            "gap": pairs.gaps[part].tolist(),
            "confidence": _rounded(pairs.confidence[part]),
        }

    def _labels(self, labels: Labels, part: IntArray) -> list[Row]:
        names = self.wording.names[labels.items[part]]
        return _dicts(
            {
                "prompt": [_said("user", prompt) for prompt in self._prompts(labels.rows[part])],
                "completion": [_said("assistant", name) for name in names],
                "label": labels.good[part].tolist(),
                **self._origin(labels.rows[part]),
                "item": self.train.catalog.ids[labels.items[part]].tolist(),
                **{name.removeprefix("_"): column for name, column in self._judged("", labels.at[part]).items()},
                "confidence": _rounded(labels.confidence[part]),
            }
        )

    def _lists(self, lists: Lists, part: IntArray) -> list[Row]:
        names, ids = self.wording.names, self.train.catalog.ids
        chosen, rejected = lists.chosen[part], lists.rejected[part]
        return _dicts(
            {
                "prompt": self._prompts(lists.rows[part]),
                "chosen": [names[row[row != EMPTY]].tolist() for row in chosen],
                "rejected": [names[row[row != EMPTY]].tolist() for row in rejected],
                "gaps": [gaps[row != EMPTY].tolist() for gaps, row in zip(lists.gaps[part], rejected, strict=True)],
                **self._origin(lists.rows[part]),
                "chosen_items": [ids[row[row != EMPTY]].tolist() for row in chosen],
                "rejected_items": [ids[row[row != EMPTY]].tolist() for row in rejected],
                **self._found("chosen", lists.rows[part], chosen),
                **self._found("rejected", lists.rows[part], rejected),
                "confidence": _rounded(lists.confidence[part]),
            }
        )

    def _prompts(self, rows: IntArray) -> list[str]:
        return self.wording.prompts(self.records, rows.tolist())

    def _origin(self, rows: IntArray) -> dict[str, list[Any]]:
        records = self.records
        return {
            "source": records.sources[rows].tolist(),
            "run": _or_none(records.runs[rows]),
            "policy": _or_none(records.policies[rows]),
            "seed": _known(records.seeds[rows]),
            "user": self.train.users.ids[records.users[rows]].tolist(),
            "page": _known(records.pages[rows]),
        }

    def _judged(self, what: str, at: IntArray) -> dict[str, list[Any]]:
        ratings = self.records.candidates.ratings[at]
        return {
            f"{what}_position": _known(self.records.positions[at]),
            f"{what}_grade": GRADE_WORDS[self.records.candidates.grades[at]].tolist(),
            f"{what}_rating": [None if np.isnan(rating) else round(rating, 4) for rating in ratings.tolist()],
        }

    def _found(self, what: str, rows: IntArray, items: IntArray) -> dict[str, list[Any]]:
        """Return positions and grades of some items of each record."""
        positions, grades = [], []
        for row, mine in zip(rows.tolist(), items, strict=True):
            record = self.records[row]
            place = {item: at for at, (item, _, _) in enumerate(record.candidates)}
            at = [place[item] for item in mine[mine != EMPTY].tolist()]
            positions.append([None if record.positions[one] == NONE else record.positions[one] for one in at])
            grades.append([record.candidates[one][1].name.lower() for one in at])
        return {f"{what}_positions": positions, f"{what}_grades": grades}


def check_place(path: Path, *, force: bool) -> None:
    """Say so where no preferences can be written there."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: its ending says how it is written; there are {' and '.join(SUFFIXES)}")
    if path.is_dir():
        raise DataError(f"{path}: a folder, where a file is due")
    file = next((above for above in path.parents if above.exists() and not above.is_dir()), None)
    if file is not None:
        raise DataError(f"{path}: {file} is a file, where a folder is due")
    if path.exists() and not force:
        raise DataError(f"{path}: exists already; choose another name, or replace it with --force")


def write_rows(path: Path, batches: Iterator[list[Row]]) -> int:
    """Write rows as JSON lines or parquet, by the file's ending, in one move; return how many there are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        count = (_write_lines if path.suffix == ".jsonl" else _write_parquet)(unfinished, batches)
        os.replace(unfinished, path)  # noqa: PTH105  (replaces on every system)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _write_lines(path: Path, batches: Iterator[list[Row]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for rows in batches:
            file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
            count += len(rows)
    return count


def _write_parquet(path: Path, batches: Iterator[list[Row]]) -> int:
    count, writer = 0, None
    try:
        for rows in batches:
            table = pa.Table.from_pylist(rows, schema=_schema(rows[0]))
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            count += len(rows)
    finally:
        if writer is not None:
            writer.close()
    return count


def _schema(row: Row) -> pa.Schema:
    """Return the types of the columns, which do not depend on which values happen to be missing."""
    message = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    kinds: Mapping[str, pa.DataType] = {
        "seed": pa.int64(),
        "page": pa.int32(),
        "position": pa.int32(),
        "positions": pa.list_(pa.int32()),
        "rating": pa.float64(),
        "confidence": pa.float64(),
        "grades": pa.list_(pa.string()),
        "gaps": pa.list_(pa.float64()),
        "run": pa.string(),
        "policy": pa.string(),
    }
    fields = []
    for name, value in row.items():
        kind = kinds.get(name.rsplit("_", 1)[-1])
        if kind is None and isinstance(value, list):
            is_message = bool(value) and isinstance(value[0], dict)
            kind = message if is_message else pa.list_(pa.array(value).type)
        fields.append((name, kind or pa.array([value]).type))
    return pa.schema(fields)


def _said(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def _dicts(columns: Mapping[str, list[Any]]) -> list[Row]:
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _known(numbers: IntArray) -> list[int | None]:
    return [None if number == NONE else number for number in numbers.tolist()]


def _or_none(words: Any) -> list[str | None]:
    return [word or None for word in words.tolist()]


def _rounded(values: Any) -> list[float | None]:
    """Return values with four digits; None for NaN, which JSON does not know."""
    return [None if value != value else round(value, 4) for value in values.tolist()]
