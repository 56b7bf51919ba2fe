"""The plain layout: a folder of parquet files that any data set can be written to and read from.

`interactions.parquet` holds user_id, item_id, rating, timestamp and, where they exist, position,
strength and published splits; `items.parquet` and `users.parquet` say who those are; each
`split_NAME.parquet` holds one more published split.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simenv.arrays import WordArray
from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.errors import DataError
from simenv.interactions import NO_TIME

from .assembly import Log, as_ids, assemble, id_array, numbers, seconds, words
from .checks import CORRECT, STRICT, Door, need_columns, need_file, problem, shown
from .parquetfile import listed_once, numeric, read_parquet, row_place, texts, whole

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "base": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "": "",
}
STRENGTHS = ("strength", "hours")


def recognises(source: Path) -> bool:
    """Tell whether a folder looks like this layout."""
    return (source / "interactions.parquet").is_file()


def read(
    source: Path,
    *,
    name: str | None = None,
    where: Mapping[str, object] | None = None,
    duplicates: str = "error",
    unknown: str = "error",
    door: Door = STRICT,
) -> Dataset:
    """Return the data set of a folder; `where` keeps only the interactions with these values."""
    path = need_file(source / "interactions.parquet", "give a folder in the plain layout")
    if where is not None and not isinstance(where, Mapping):
        raise DataError(f"where={where}: give a column and its value (where.variant=dense)")
    log = _log(path, where or {}, door)
    catalog = users = None
    if (source / "items.parquet").is_file():
        catalog = _catalog(source / "items.parquet", door)
    if (source / "users.parquet").is_file():
        users = _users(source / "users.parquet", door)
    for file in sorted(source.glob("split_*.parquet")):
        log = _with_split(log, file, door)
    return assemble(
        name or source.resolve().name,
        log,
        catalog,
        users,
        door=door,
        duplicates=duplicates,
        unknown=unknown,
    )


def _log(path: Path, where: Mapping[str, object], door: Door) -> Log:
    table = read_parquet(path, ("user_id", "item_id"))
    rows = np.ones(len(table), dtype=bool)
    for column, value in where.items():
        need_columns(path, table.column_names, (column,))
        there = table[column].cast(pa.string())
        found = pc.fill_null(pc.equal(there, str(value)), False).to_numpy()
        if not found.any():
            known = ", ".join(sorted(str(text) for text in pc.unique(there).to_pylist())[:12])
            raise DataError(problem(shown(path), f"where: no row has {column} '{value}'", f"there are {known}"))
        rows &= found
    file = shown(path)
    columns = set(table.column_names)
    if "variant" in columns - set(where):
        variants = pc.unique(table["variant"].cast(pa.string())).to_pylist()
        if len(variants) > 1:
            what = f"holds {len(variants)} variants ({', '.join(map(str, variants))})"
            raise DataError(problem(file, what, f"choose one: where.variant={variants[0]}"))
    strength = next((column for column in STRENGTHS if column in columns), None)
    log = Log(
        file,
        row_place,
        as_ids(table["user_id"], f"{file}: user_id"),
        as_ids(table["item_id"], f"{file}: item_id"),
        ratings=numbers(numeric(table, "rating", file)) if "rating" in columns else None,
        times=seconds(whole(table, "timestamp", file)) if "timestamp" in columns else None,
        order=seconds(whole(table, "position", file)) if "position" in columns else None,
        strengths=numbers(numeric(table, strength, file)) if strength else None,
    ).without(~rows)
    published: dict[str, WordArray] = {}
    for column in table.column_names:
        if column == "split" or column.startswith("split_"):
            split = column.removeprefix("split_")
            published[split] = _split_words(table[column], column, file, door)[rows]
        elif column == "fold_u":
            fold = pc.fill_null(whole(table, column, file), 0).to_numpy()[rows]
            for number in sorted(set(fold.tolist()) - {0}):
                published[f"u{int(number)}"] = np.where(fold == number, "test", "train").astype(object)
    log = replace(log, published=published)
    if log.order is not None:
        log = log.refuse(door, log.order == NO_TIME, lambda _: "the position is blank", CORRECT)
    return log


def _split_words(column: Any, name: str, file: str, door: Door) -> WordArray:
    coded = column.combine_chunks().cast(pa.string()).dictionary_encode()
    known = []
    for word in coded.dictionary.to_pylist():
        plain = SPLIT_WORDS.get(word.strip().lower())
        if plain is None:
            what = f"column '{name}' says '{word}'"
            place = row_place(pc.index(column.cast(pa.string()), word).as_py())
            remedy = "write train, valid or test, or leave it blank"
            door.refuse(file, what, remedy, place, reason=f"column '{name}' says what is no split (left blank)")
        known.append(plain or "")
    codes = pc.fill_null(coded.indices, len(known)).to_numpy()
    return np.asarray(words([*known, ""])[codes], dtype=object)


def _with_split(log: Log, path: Path, door: Door) -> Log:
    file = shown(path)
    table = read_parquet(path, ("user_id", "item_id", "split"))
    split = _split_words(table["split"], "split", file, door)
    users, items = id_array(pc.unique(log.users)), id_array(pc.unique(log.items))
    named = Log(
        file,
        row_place,
        as_ids(table["user_id"], f"{file}: user_id"),
        as_ids(table["item_id"], f"{file}: item_id"),
        published={"split": split},
    )
    if (named.users.type, named.items.type) != (log.users.type, log.items.type):
        what = "its ids are not of the same type as those of interactions.parquet"
        raise DataError(problem(file, what, "write both as whole numbers or both as text"))
    there = log.pairs(users, items)
    stranger = ~np.isin(named.pairs(users, items), there)
    named = named.refuse(
        door,
        stranger,
        lambda row: f"user {named.users[row]} and item {named.items[row]} are not in interactions.parquet",
        CORRECT,
        f"{file}: the pair is not in interactions.parquet",
    )
    pairs = named.pairs(users, items)
    order = np.argsort(pairs, kind="stable")
    place = np.searchsorted(pairs[order], there)
    found = np.append(pairs[order], -2)[place] == there
    column = np.full(len(log), "", dtype=object)
    column[found] = named.published["split"][order[place[found]]]
    return replace(log, published={**log.published, path.stem.removeprefix("split_"): column})


def _catalog(path: Path, door: Door) -> Catalog:
    file = shown(path)
    table = read_parquet(path, ("item_id",))
    ids, rows = listed_once(table, "item_id", file, door)
    table = table.take(pa.array(rows))
    count = len(rows)
    nothing = words([None] * count)
    columns = set(table.column_names)
    return Catalog(
        ids=ids,
        titles=texts(table, "title", file) if "title" in columns else nothing,
        categories=_categories(table, file) if "categories" in columns else ((),) * count,
        descriptions=texts(table, "description", file) if "description" in columns else nothing,
        years=(
            numeric(table, "year", file).cast(pa.float64()).to_numpy() if "year" in columns else np.full(count, np.nan)
        ),
    )


def _users(path: Path, door: Door) -> Users:
    table = read_parquet(path, ("user_id",))
    ids, rows = listed_once(table, "user_id", shown(path), door)
    table = table.take(pa.array(rows))
    attributes = [column for column in table.column_names if column != "user_id"]
    return Users(ids, {column: texts(table, column, shown(path)) for column in attributes})


def _categories(table: Any, file: str) -> tuple[tuple[str, ...], ...]:
    kind = table["categories"].type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_null(kind)):
        raise DataError(problem(file, f"column 'categories' is {kind}", "write a list of texts for each item"))
    return tuple(
        tuple(str(name) for name in names or () if name is not None) for names in table["categories"].to_pylist()
    )


def write_plain(dataset: Dataset, folder: Path, force: bool = False) -> None:
    """Write a data set in the plain layout; the folder appears only once it is whole.

    A folder that is there already is refused, or replaced with `force`.
    """
    if folder.exists() and not force:
        raise DataError(f"{shown(folder)}: exists already; choose another name, or force it to be replaced")
    draft = folder.with_name(f".{folder.name}.draft-{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        draft.mkdir()
        for file, table in _tables(dataset).items():
            pq.write_table(table, draft / file, compression="zstd")
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove the drafts of writers that were killed."""
    for draft in parent.glob(".*.draft-*"):
        process = draft.name.rpartition("-")[2]
        if process.isdigit() and not _runs(int(process)):
            shutil.rmtree(draft, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _tables(dataset: Dataset) -> dict[str, Any]:
    log, catalog, users = dataset.interactions, dataset.catalog, dataset.users
    user_ids, item_ids = pa.array(users.ids.tolist()), pa.array(catalog.ids.tolist())
    columns = {
        "user_id": user_ids.take(pa.array(log.users)),
        "item_id": item_ids.take(pa.array(log.items)),
        "rating": pa.array(log.ratings, pa.float32(), from_pandas=True),
        "timestamp": pa.array(log.times, pa.int64(), mask=log.times == NO_TIME),
        "position": pa.array(log.places(len(users)).astype(np.int32)),
    }
    if log.strengths is not None:
        columns["strength"] = pa.array(log.strengths, pa.float32(), from_pandas=True)
    for name, split in dataset.published.items():
        columns["split" if name == "split" else f"split_{name}"] = pa.array(split, pa.string())
    return {
        "interactions.parquet": pa.table(columns),
        "items.parquet": pa.table(
            {
                "item_id": item_ids,
                "title": pa.array(catalog.titles, pa.string()),
                "categories": pa.array([list(names) for names in catalog.categories], pa.list_(pa.string())),
                "description": pa.array(catalog.descriptions, pa.string()),
                "year": pa.array(catalog.years, pa.float64(), from_pandas=True).cast(pa.int32()),
            }
        ),
        "users.parquet": pa.table(
            {"user_id": user_ids} | {name: pa.array(column, pa.string()) for name, column in users.attributes.items()}
        ),
    }
