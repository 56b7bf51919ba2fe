"""Candidate lists are read as they were published, and what is wrong with them is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simenv.dataset import Dataset, Users
from simenv.errors import DataError
from simenv.interactions import Interactions
from simenv.ranking import rank
from simenv.readers import open_dataset
from simenv.readers.assembly import bare_catalog
from simenv.readers.candidates import read_llmrank
from simenv.recommenders.pop import Pop
from simenv.splits import leave_one_out

ROWS = [
    ("few", "random", 20, [103, 101, 104]),
    ("most", "random", 30, [101, 105, 102, 100]),
    ("most", "random", 10, [100, 104, 105, 101]),
    ("most", "pop", 10, [101, 102, 103, 104]),
]


def data() -> tuple[Dataset, Interactions]:
    """Return users 10, 20 and 30, items 100 to 105, and for each user one held-out item."""
    users, items = np.array([0, 1, 2]), np.array([4, 3, 0])
    held, _ = Interactions.sort(users, items)
    return Dataset("tiny", bare_catalog(np.arange(100, 106)), Users(np.array([10, 20, 30])), held), held


def lists(path: Path, rows: list = ROWS, **columns: Any) -> Path:
    names = ("subset", "strategy", "user_id", "item_ids")
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) | columns), path)
    return path


def test_the_first_of_the_largest_subset_are_taken_and_the_held_out_item_is_added(tmp_path: Path):
    found = read_llmrank(lists(tmp_path / "c.parquet"), *data(), count=3)

    assert found.subset == "most"
    assert found.users.tolist() == [0, 2]
    assert found.items.tolist() == [[0, 5, 4], [1, 5, 0]]


def test_a_subset_and_a_strategy_can_be_named(tmp_path: Path):
    path = lists(tmp_path / "c.parquet")
    assert read_llmrank(path, *data(), subset="few", count=3).items.tolist() == [[1, 4, 3]]
    assert read_llmrank(path, *data(), strategy="pop", count=4).items.tolist() == [[1, 2, 3, 4]]


def test_an_item_named_twice_is_one_candidate(tmp_path: Path):
    ids = [[101, 104, 101, 101, 103], [101, 101, 102, 101], [100, 100, 102, 100], [101, 102, 103, 104]]
    path = lists(tmp_path / "c.parquet", item_ids=ids)

    found = read_llmrank(path, *data(), subset="few", strategy="random", count=3)

    assert all(len(set(row)) == 3 for row in found.items.tolist())


FAULTS: list[tuple[dict, dict, str]] = [
    ({}, {"subset": "full"}, "no row of subset 'full'; there are few, most"),
    ({}, {"strategy": "luck"}, "no row of strategy 'luck'; there are pop, random"),
    ({}, {"count": 5}, "user 30 has 3 different candidates beside the held-out item; at most 4 can be ranked"),
    ({"user_id": [20, 31, 10, 10]}, {}, "user 31 is not in tiny"),
    ({"item_ids": [[1], [2], [3], [4]]}, {}, "item 2 is not in tiny"),
    ({"item_ids": [1, 2, 3, 4]}, {}, "column 'item_ids' is int64; give a list of ids"),
    ({"user_id": ["a", "b", "c", "d"]}, {}, "user ids are not written as those of tiny"),
    ({"user_id": [20, 10, 10, 10]}, {"count": 3}, "a user stands twice"),
]


@pytest.mark.parametrize(("columns", "options", "told"), FAULTS)
def test_what_is_wrong_is_told_with_its_file(tmp_path: Path, columns: dict, options: dict, told: str):
    with pytest.raises(DataError) as error:
        read_llmrank(lists(tmp_path / "c.parquet", **columns), *data(), **options)
    assert told in str(error.value)
    assert "c.parquet" in str(error.value)


def test_a_missing_file_is_told_with_what_would_be_right(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere\.parquet: no such file; copy LLMRank's lists there"):
        read_llmrank(tmp_path / "nowhere.parquet", *data())


def test_these_lists_want_one_held_out_item_a_user(tmp_path: Path):
    dataset, _ = data()
    held, _ = Interactions.sort(np.array([0, 0, 1, 2]), np.array([3, 4, 3, 0]))
    with pytest.raises(DataError, match="user 10 has 2 test rows"):
        read_llmrank(lists(tmp_path / "c.parquet"), dataset, held, count=3)


SHARED = Path(__file__).parents[2].parent / "shared" / "data"
PUBLISHED = {"ml-1m": (22.91, 45.16, 52.33, 55.36), "amazon-games": (28.35, 47.42, 52.96, 57.45)}


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the data that come with the project lie nowhere beside this checkout")
@pytest.mark.parametrize("name", PUBLISHED)
def test_pop_comes_near_what_was_published(name: str):
    dataset = open_dataset(SHARED / name)
    split = leave_one_out(dataset)
    some = read_llmrank(SHARED / name / "candidates_llmrank.parquet", dataset, split.test)
    policy = Pop()
    policy.fit(split.train)
    found = rank(policy, split.train, split.test, some.users, 20, candidates=some.items, leave_out_past=False)
    measured = [100 * found.qualities(k)[:, 1].mean() for k in (1, 5, 10, 20)]
    assert measured == pytest.approx(PUBLISHED[name], abs=1.0)
