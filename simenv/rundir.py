"""A run's folder: its manifest, its log, and the tables that make it readable on its own.

manifest.json     what was run: scenario, versions, seeds, the data's fingerprint, how far it came
scenario.yaml     the scenario with all values used
events/ pages/    the event log
items.parquet     item_id, title, categories, year, train_count
users.parquet     user_id, train_count, mean_popularity, categories and their shares of the history
rankings/         one file per policy: the offline ranking against held-out items
metrics.json      {policy: {metric: {mean, low, high, n}}}
pages.json        {policy: {metric: [{mean, low, high, n} of page 0, 1, …]}}; P_exit is the share who leave then
comparisons.json  policies against each other on the same users
fidelity.json     how far the users are like real ones: every test, its figures and its verdict
personas.jsonl    who the users are, where they are agents
item_texts.jsonl  what is said of items, where a model wrote it or items thought over who took them
answers.sqlite    what language models answered, where any were asked, and what each request took
report.html
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from scipy import sparse

from .chat.usage import Usage, usage
from .dataset import Dataset
from .errors import RunError
from .eventlog import EventLog
from .log_checks import check_counts

PERSONAS, ITEM_TEXTS, ANSWERS = "personas.jsonl", "item_texts.jsonl", "answers.sqlite"


class _Loose(BaseModel):
    """A part of a file of which only what is read is checked."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Figure(_Loose):
    mean: float | None
    low: float | None
    high: float | None
    n: int


class _Comparison(_Loose):
    metric: str
    policy: str
    against: str
    difference: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    n: int = 0


class _Policy(_Loose):
    label: str
    name: str = ""
    options: dict[str, Any] = {}


class _Manifest(_Loose):
    policies: list[_Policy]
    population: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    fidelity: dict[str, Any] | None = None
    seeds: list[int] = []
    users: int = 0
    page_size: int = 1
    max_pages: int = 1
    status: str = ""
    seconds: dict[str, float] = {}
    versions: dict[str, str] = {}
    rows: dict[str, int] = {}
    readings: dict[str, dict[str, int]] = {}
    empty_places: dict[str, int] = {}


SHAPES: dict[str, TypeAdapter[Any]] = {
    "manifest.json": TypeAdapter(_Manifest),
    "metrics.json": TypeAdapter(dict[str, dict[str, _Figure]]),
    "pages.json": TypeAdapter(dict[str, dict[str, list[_Figure]]]),
    "comparisons.json": TypeAdapter(list[_Comparison]),
    "fidelity.json": TypeAdapter(dict[str, Any]),
}


@dataclass(frozen=True)
class RunDir:
    """What a run hands on, and nothing else."""

    folder: Path

    @staticmethod
    def open(folder: Path) -> "RunDir":
        """Return the run in this folder, or say that there is none."""
        if not (folder / "manifest.json").is_file():
            raise RunError(f"{folder}: no run here (it has no manifest.json); `simenv run` makes one")
        return RunDir(folder)

    @property
    def log(self) -> EventLog:
        """The event log."""
        return EventLog(self.folder)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was run."""
        content: dict[str, Any] = self.read_json("manifest.json")
        return content

    @cached_property
    def readings(self) -> dict[str, dict[str, int]]:
        """How answers were read, counted by kind of question; {} where nobody was asked in words.

        Those to questions on a page stand in the log, those on users and items beside what was answered.
        """
        if "asked" not in self.pages.column_names:
            return {}
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for name, kind in ((PERSONAS, "persona"), (ITEM_TEXTS, "item text")):
            for row in self.read_lines(name):
                if row.get("read"):
                    found["afterwards" if row.get("policy") else kind][str(row["read"])] += 1
        for told, count in Counter(self.pages["asked"].to_pylist()).items():
            for kind, how in json.loads(told or "[]"):
                found[kind][how] += count
        return {kind: dict(sorted(counts.items())) for kind, counts in sorted(found.items())}

    def check_whole(self) -> None:
        """Say so when sessions of a finished run are missing from its log."""
        manifest = self.manifest
        if manifest.get("status") != "complete":
            return
        wanted = manifest["users"] * len(manifest["seeds"])
        for policy in manifest["policies"]:
            there = len(self.log.sessions(policy["label"]))
            if there != wanted:
                raise RunError(
                    f"{self.folder}: its log holds {there} sessions of '{policy['label']}' where the run had {wanted};"
                    " a part is missing. `simenv run` with the same settings and --resume plays them again"
                )

    @cached_property
    def events(self) -> pa.Table:
        """One row per shown item."""
        return self._counted("events", self.log.events())

    @cached_property
    def pages(self) -> pa.Table:
        """One row per page."""
        return self._counted("pages", self.log.pages())

    def _counted(self, kind: str, table: pa.Table) -> pa.Table:
        """Return a table of the log, if it has as many rows as the manifest of the ended run says."""
        if (self.folder / "manifest.json").is_file() and self.manifest.get("status") == "complete":
            check_counts(table, kind, self.folder, self.manifest.get("rows", {}).get(kind))
        return table

    @cached_property
    def items(self) -> pa.Table:
        """The catalogue, by the data set's own ids."""
        return self._table("items.parquet")

    @cached_property
    def users(self) -> pa.Table:
        """The users and what their histories were like."""
        return self._table("users.parquet")

    @cached_property
    def rankings(self) -> dict[str, pa.Table]:
        """Each policy's offline ranking: user_id, rank, item_id, relevant, relevant_count; {} if none was made."""
        paths = sorted((self.folder / "rankings").glob("*.parquet"))
        return {path.stem: self._table(f"rankings/{path.name}") for path in paths}

    @property
    def usage(self) -> dict[str, Usage]:
        """What was asked of language models, by the kind of question; {} if nothing was, or all was replayed."""
        return usage(self.folder / ANSWERS)

    def read_json(self, name: str) -> Any:
        """Return what a JSON file of the run says."""
        path = self.folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(
                f"{path}: missing; `simenv rescore {self.folder}` writes what follows from the log"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: not readable as JSON ({error}); the file is damaged") from None
        if name in SHAPES:
            try:
                SHAPES[name].validate_python(content)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"])) or "the whole file"
                hint = "" if name == "manifest.json" else f"; `simenv rescore {self.folder}` writes it again"
                told = f"not what belongs there ({place}: {first['msg'].lower()})"
                raise RunError(f"{path}: {told}; the file is damaged{hint}") from None
        return content

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file of the run in one move."""
        self.write_text(name, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows as lines of JSON, in one move."""
        self.write_text(name, "".join(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n" for row in rows))

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a file of lines of JSON; none where it is missing."""
        path = self.folder / name
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise RunError(f"{path}: not lines of JSON ({error}); the file is damaged") from None
        if not all(isinstance(row, dict) for row in rows):
            raise RunError(f"{path}: a line is no mapping; the file is damaged")
        return rows

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run in one move."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        unfinished = path.with_name(f".{name}.unfinished")
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write a table of the run in one move."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        pq.write_table(table, unfinished, compression="zstd")
        unfinished.replace(path)

    def write_world(self, train: Dataset) -> None:
        """Write the catalogue and the users as the training rows show them."""
        self.write_table("items.parquet", item_table(train))
        self.write_table("users.parquet", user_table(train))

    def _table(self, name: str) -> pa.Table:
        try:
            return pq.read_table(self.folder / name)
        except (OSError, pa.ArrowException) as error:
            raise RunError(
                f"{self.folder / name}: missing or damaged; `simenv run` with the same settings and --resume writes it"
                f" again, once it is removed ({type(error).__name__})"
            ) from None


def item_table(train: Dataset) -> pa.Table:
    """Return the catalogue with each item's number of training rows."""
    catalog = train.catalog
    return pa.table(
        {
            "item_id": pa.array(catalog.ids.tolist()),
            "title": pa.array(catalog.titles.tolist(), pa.string()),
            "categories": pa.array([list(names) for names in catalog.categories], pa.list_(pa.string())),
            "year": pa.array(catalog.years.astype(np.float64), from_pandas=True),
            "train_count": train.popularity.astype(np.int64),
        }
    )


def user_table(train: Dataset) -> pa.Table:
    """Return the users with the length, the popularity and the categories of their histories."""
    counts = np.diff(train.starts)
    log = train.interactions
    popularity = np.bincount(log.users, train.popularity[log.items].astype(float), len(train.users))
    tastes = _tastes(train)
    names = np.array(train.catalog.category_names, dtype=object)
    starts = pa.array(tastes.indptr.astype(np.int32))
    return pa.table(
        {
            "user_id": pa.array(train.users.ids.tolist()),
            "train_count": counts.astype(np.int64),
            "mean_popularity": popularity / np.maximum(counts, 1),
            "categories": pa.ListArray.from_arrays(starts, pa.array(names[tastes.indices], pa.string())),
            "shares": pa.ListArray.from_arrays(starts, pa.array(tastes.data)),
        }
    )


def _tastes(train: Dataset) -> sparse.csr_array:
    """Return the share of each category in each user's history, an item's weight split among its categories."""
    log, catalog = train.interactions, train.catalog
    shape = (len(train.users), len(catalog))
    histories = sparse.csr_array((np.ones(len(log)), (log.users, log.items)), shape=shape)
    matrix = sparse.csr_array(catalog.category_matrix.astype(np.float64))
    weight = sparse.diags_array(1 / np.maximum(np.asarray(matrix.sum(axis=1)).reshape(-1), 1))
    total = sparse.csr_array(histories @ (weight @ matrix))
    mass = np.maximum(np.asarray(total.sum(axis=1)).reshape(-1), 1e-12)
    shares = sparse.csr_array(sparse.diags_array(1 / mass) @ total)
    shares.sort_indices()
    return shares


Metrics = Mapping[str, Mapping[str, Mapping[str, float]]]  # policy, metric, {mean, low, high, n}
