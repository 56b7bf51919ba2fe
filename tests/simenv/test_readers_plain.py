from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simenv.errors import DataError
from simenv.interactions import NO_TIME
from simenv.readers import read, write_plain

LOG: dict[str, list[Any]] = {
    "user_id": [1, 1, 2],
    "item_id": [10, 20, 10],
    "rating": [4.0, None, 2.0],
    "timestamp": [50, None, 30],
    "position": [1, 0, 0],
    "split": ["test", "train", "validation"],
}
ITEMS = {
    "item_id": [10, 20, 30],
    "title": ["Heat", None, "Alien"],
    "categories": [["Action", "Crime"], [], None],
    "description": [None, "A film.", None],
    "year": [1995, None, 1979],
}
USERS = {"user_id": [2, 1], "age": [30, None]}


def lay(folder: Path, **changed: object) -> Path:
    files = {"interactions": LOG, "items": ITEMS, "users": USERS, **changed}
    folder.mkdir(exist_ok=True)
    for name, columns in files.items():
        if columns is not None:
            pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def test_positions_order_a_users_rows(tmp_path: Path):
    dataset = read(lay(tmp_path))

    assert dataset.users.ids.tolist() == [2, 1]
    assert dataset.interactions.users.tolist() == [0, 1, 1]
    assert dataset.interactions.items.tolist() == [0, 1, 0]
    assert dataset.interactions.times.tolist() == [30, NO_TIME, 50]
    assert dataset.published["split"].tolist() == ["valid", "train", "test"]


def test_times_order_rows_without_positions(tmp_path: Path):
    log = {"user_id": [1, 1], "item_id": [10, 20], "timestamp": [9, 5]}

    assert read(lay(tmp_path, interactions=log)).interactions.items.tolist() == [1, 0]


def test_rows_with_neither_keep_their_order(tmp_path: Path):
    log = {"user_id": [1, 2, 1], "item_id": [30, 10, 10]}

    assert read(lay(tmp_path, interactions=log)).interactions.items.tolist() == [0, 2, 0]


def test_an_estimated_time_is_no_time(tmp_path: Path):
    log = {**LOG, "timestamp_est": [50, 40, 30]}

    assert read(lay(tmp_path, interactions=log)).interactions.times.tolist() == [30, NO_TIME, 50]


def test_items_nobody_met_stay_in_the_catalogue(tmp_path: Path):
    catalog = read(lay(tmp_path)).catalog

    assert catalog.titles.tolist() == ["Heat", None, "Alien"]
    assert catalog.categories == (("Action", "Crime"), (), ())


def test_without_lists_items_and_users_are_those_of_the_log(tmp_path: Path):
    log = {"user_id": ["bob", "ann"], "item_id": ["x", "y"]}

    dataset = read(lay(tmp_path, interactions=log, items=None, users=None))

    assert dataset.users.ids.tolist() == ["ann", "bob"]
    assert dataset.catalog.ids.tolist() == ["x", "y"]


def test_more_splits_come_by_column_fold_and_file(tmp_path: Path):
    log = {**LOG, "split_ua": ["test", "train", "train"], "fold_u": [2, 1, 1]}
    named = {"user_id": [1], "item_id": [10], "split": ["test"]}

    published = read(lay(tmp_path, interactions=log, split_paper=named)).published

    assert {name: words.tolist() for name, words in published.items()} == {
        "split": ["valid", "train", "test"],
        "ua": ["train", "train", "test"],
        "u1": ["test", "test", "train"],
        "u2": ["train", "train", "test"],
        "paper": ["", "", "test"],
    }


def test_one_variant_is_chosen_by_its_column(tmp_path: Path):
    folder = lay(tmp_path, interactions={**LOG, "variant": ["dense", "sparse", "dense"]})

    with pytest.raises(DataError, match=r"holds 2 variants \(dense, sparse\); choose one"):
        read(folder)
    assert len(read(folder, where={"variant": "dense"}).interactions) == 2
    with pytest.raises(DataError, match="no row has variant 'thick'; there are dense, sparse"):
        read(folder, where={"variant": "thick"})


def test_one_pair_may_stand_in_two_splits(tmp_path: Path):
    log = {"user_id": [1, 1], "item_id": [10, 10], "split": ["train", "test"]}

    assert len(read(lay(tmp_path, interactions=log)).interactions) == 2


BAD = {
    "interactions.parquet, row 2: user 1 and item 10 stand together a second time": {
        "interactions": {"user_id": [1, 1], "item_id": [10, 10]}
    },
    "interactions.parquet, row 2: item 99 is not among the items listed; list the item, or give": {
        "interactions": {"user_id": [1, 1], "item_id": [10, 99]}
    },
    "interactions.parquet, row 1: user 9 is not among the users listed": {
        "interactions": {"user_id": [9], "item_id": [10]}
    },
    "interactions.parquet, row 1: the item id is blank": {
        "interactions": {"user_id": [1], "item_id": pa.array([None], pa.int64())}
    },
    "interactions.parquet, row 1: the user id is blank": {
        "interactions": {"user_id": [" "], "item_id": [10]},
        "users": None,
    },
    "interactions.parquet: item ids are text, but whole numbers in the file that lists the items": {
        "interactions": {"user_id": [1], "item_id": ["10"]}
    },
    "interactions.parquet: no column 'item_id'; its columns are user_id": {"interactions": {"user_id": [1]}},
    "interactions.parquet: column 'rating' is string, not numbers": {
        "interactions": {**LOG, "rating": ["good", "bad", "good"]}
    },
    "interactions.parquet, row 1: rating inf is not a number": {
        "interactions": {**LOG, "rating": [float("inf"), 1.0, 2.0]}
    },
    "interactions.parquet, row 3: timestamp -1 is negative": {"interactions": {**LOG, "timestamp": [1, 1, -1]}},
    "interactions.parquet, row 2: the position is blank": {"interactions": {**LOG, "position": [1, None, 2]}},
    "interactions.parquet, row 2: column 'split' says 'exam'; write train, valid or test": {
        "interactions": {**LOG, "split": ["train", "exam", "test"]}
    },
    "interactions.parquet: no row in it": {"interactions": {"user_id": [], "item_id": []}},
    "items.parquet, row 3: item 10 stands in row 1 already": {
        "items": {"item_id": [10, 20, 10]},
    },
    "items.parquet: column 'categories' is string": {"items": {"item_id": [10, 20], "categories": ["Action", "Crime"]}},
    "items.parquet: column 'year' is string, not numbers": {"items": {"item_id": [10, 20], "year": ["a", "b"]}},
    "users.parquet, row 2: the user id is blank": {"users": {"user_id": [1, None]}},
    "split_mine.parquet, row 1: user 1 and item 30 are not in interactions.parquet": {
        "split_mine": {"user_id": [1], "item_id": [30], "split": ["test"]}
    },
}


@pytest.mark.parametrize(("told", "changed"), BAD.items())
def test_a_bad_table_is_told_with_its_row(tmp_path: Path, told: str, changed: dict[str, Any]):
    with pytest.raises(DataError) as error:
        read(lay(tmp_path, **changed))

    assert told in str(error.value)


@pytest.mark.parametrize("file", ["interactions.parquet", "items.parquet", "users.parquet"])
def test_a_cut_off_file_is_no_parquet(tmp_path: Path, file: str):
    path = lay(tmp_path) / file
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(DataError, match=rf"{file}: not a parquet file, or cut off; fetch"):
        read(tmp_path)


def test_what_is_written_reads_back_the_same(tmp_path: Path):
    log = {**LOG, "strength": [1.5, None, 3.0]}
    dataset = read(lay(tmp_path / "old", interactions=log))

    write_plain(dataset, tmp_path / "new")

    again = read(tmp_path / "new")
    assert again.fingerprint == dataset.fingerprint
    assert again.interactions.strengths is not None
    assert again.published["split"].tolist() == dataset.published["split"].tolist()
    assert again.users.attributes["age"].tolist() == ["30", None]


def test_nothing_is_overwritten_unasked(tmp_path: Path):
    dataset = read(lay(tmp_path / "old"))
    write_plain(dataset, tmp_path / "new")

    with pytest.raises(DataError, match="exists already"):
        write_plain(dataset, tmp_path / "new")

    write_plain(dataset, tmp_path / "new", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = read(lay(tmp_path / "old"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("simenv.readers.plain.pq.write_table", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        write_plain(dataset, tmp_path / "new")

    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_drafts_of_the_dead_are_swept_away(tmp_path: Path):
    dataset = read(lay(tmp_path / "old"))
    (tmp_path / ".lost.draft-99999999").mkdir()

    write_plain(dataset, tmp_path / "new")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]
