"""Fitted policies on disk: only their own folder is touched, and what cannot be read is told."""

import json
from pathlib import Path

import numpy as np
import pytest

from simenv.errors import SimenvError, StoreError
from simenv.films import films_world
from simenv.recommenders.item_knn import ItemKNN
from simenv.recommenders.sasrec import SASRec
from simenv.store import ABOUT, ARRAYS, load_policy, read_state, save_policy, settings_of, write_state


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A saved policy."""
    policy = ItemKNN(neighbours=3)
    policy.fit(films_world(users=20, items=30).dataset)
    save_policy(policy, tmp_path / "kept", note="mine")
    return tmp_path / "kept"


def test_settings_and_facts_are_json_beside_the_arrays(kept: Path):
    about, arrays = read_state(kept)
    assert about["policy"] == "simenv.recommenders.item_knn:ItemKNN"
    assert about["settings"] == {"neighbours": 3, "shrink": 10.0, "modesty": 0.0}
    assert about["note"] == "mine"
    assert int(arrays["item_count"]) == 30
    assert sorted(file.name for file in kept.iterdir()) == [ARRAYS, ABOUT]
    assert not list(kept.parent.glob(".*"))


def test_a_folder_may_be_given_as_text(kept: Path):
    assert load_policy(str(kept)).neighbours == 3


def test_numbers_of_numpy_are_kept_as_plain_ones():
    assert json.dumps(settings_of(ItemKNN(neighbours=np.int64(3), shrink=np.float32(0.5)))) == (
        '{"neighbours": 3, "shrink": 0.5, "modesty": 0.0}'
    )


def test_a_saved_policy_is_written_over_and_nothing_else(kept: Path):
    policy = load_policy(kept)
    policy.neighbours = 4
    save_policy(policy, kept)
    assert load_policy(kept).neighbours == 4

    (kept / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match=r"holds thesis\.txt, which would be lost"):
        save_policy(policy, kept)
    assert (kept / "thesis.txt").read_text() == "years of work"


def test_a_crash_while_writing_leaves_what_was_there(kept: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("simenv.store.save_file", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_state(kept, {}, {})
    assert load_policy(kept).neighbours == 3
    assert not list(kept.parent.glob(".*"))


def test_what_is_not_fitted_is_not_saved(tmp_path: Path):
    with pytest.raises(SimenvError, match="ItemKNN has not been fitted: there is nothing to keep"):
        save_policy(ItemKNN(), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_an_empty_folder_is_told(tmp_path: Path):
    with pytest.raises(StoreError, match="no saved policy here"):
        load_policy(tmp_path)


@pytest.mark.parametrize("name", [ABOUT, ARRAYS])
@pytest.mark.parametrize("cut", [0, 20])
def test_a_damaged_file_is_told(kept: Path, name: str, cut: int):
    whole = (kept / name).read_bytes()
    (kept / name).write_bytes(whole[:cut])
    with pytest.raises(StoreError, match="damaged"):
        load_policy(kept)


@pytest.mark.parametrize(
    "named",
    ["subprocess:Popen", "os:system", "simenv.recommenders.item_knn:Nobody", "no.such.module:ItemKNN", ""],
)
def test_what_is_no_policy_is_not_made(kept: Path, tmp_path: Path, named: str):
    about = json.loads((kept / ABOUT).read_text())
    settings = {"args": ["touch", str(tmp_path / "run")]}
    (kept / ABOUT).write_text(json.dumps(about | {"policy": named, "settings": settings}))
    with pytest.raises(StoreError, match="cannot make"):
        load_policy(kept)
    assert not (tmp_path / "run").exists()


def test_settings_that_do_not_fit_the_arrays_are_told(tmp_path: Path):
    policy = SASRec(dimensions=4, window=6, epochs=1)
    policy.fit(films_world(users=20, items=30).dataset)
    save_policy(policy, tmp_path / "kept")
    about = json.loads((tmp_path / "kept" / ABOUT).read_text())
    about["settings"]["window"] = 9
    (tmp_path / "kept" / ABOUT).write_text(json.dumps(about))
    with pytest.raises(StoreError, match="cannot make"):
        load_policy(tmp_path / "kept")
