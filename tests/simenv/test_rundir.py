"""A run's folder can be read on its own, and says so where it cannot."""

from pathlib import Path

import numpy as np
import pytest

from simenv.errors import RunError
from simenv.rundir import RunDir, item_table, user_table
from simenv.splits import Split


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path):
    with pytest.raises(RunError, match="no run here"):
        RunDir.open(tmp_path)


def test_json_is_read_as_written(tmp_path: Path):
    run = RunDir(tmp_path)
    run.write_json("notes.json", {"ö": [1, None]})
    assert run.read_json("notes.json") == {"ö": [1, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["notes.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path):
    run = RunDir(tmp_path)
    run.write_json("notes.json", [1])
    with pytest.raises(ValueError, match="JSON compliant"):
        run.write_json("notes.json", [float("nan")])
    assert run.read_json("notes.json") == [1]


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_damaged_json_is_told_with_its_file(tmp_path: Path, content: bytes):
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(RunError, match=r"metrics\.json: not readable"):
        RunDir(tmp_path).read_json("metrics.json")


def test_missing_json_says_what_writes_it(tmp_path: Path):
    with pytest.raises(RunError, match="rescore"):
        RunDir(tmp_path).read_json("metrics.json")


def test_the_catalogue_is_written_with_its_training_rows(split: Split):
    table = item_table(split.train).to_pylist()
    for item, row in enumerate(table):
        assert row["item_id"] == split.train.catalog.ids[item]
        assert row["title"] == split.train.catalog.titles[item]
        assert tuple(row["categories"]) == split.train.catalog.categories[item]
        assert row["train_count"] == (split.train.interactions.items == item).sum()


def test_the_users_are_written_with_what_their_histories_were_like(split: Split):
    train = split.train
    for user, row in enumerate(user_table(train).to_pylist()):
        items = train.interactions.items[train.interactions.users == user]
        shares = dict.fromkeys(train.catalog.category_names, 0.0)
        for item in items:
            for name in train.catalog.categories[item]:
                shares[name] += 1 / len(train.catalog.categories[item]) / len(items)
        assert row["user_id"] == train.users.ids[user]
        assert row["train_count"] == len(items)
        assert row["mean_popularity"] == pytest.approx(train.popularity[items].mean())
        told = dict(zip(row["categories"], row["shares"], strict=True))
        assert told == pytest.approx({name: share for name, share in shares.items() if share})


def test_a_run_can_be_read_after_its_data_are_gone(finished: RunDir):
    run = RunDir.open(finished.folder)
    assert len(run.items) == 80
    assert len(run.users) == 40
    assert set(run.rankings) == {"random", "pop", "item-knn"}
    assert np.isin(run.events["item_id"].to_pylist(), run.items["item_id"].to_pylist()).all()
