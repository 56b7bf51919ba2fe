"""Records hold what the log tells, no less and no more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simenv.dataset import grades_of
from simenv.errors import DataError, RunError, SimenvError
from simenv.pages import Grade
from simenv.preferences.leaks import held_out_keys
from simenv.preferences.logged import logged
from simenv.preferences.records import NONE, Records, make_records, pair_keys
from simenv.preferences.selfplay import self_play
from simenv.preferences.simulated import pages_of, simulated
from simenv.rundir import RunDir
from simenv.splits import Split


def test_a_page_of_the_log_is_a_record_with_what_was_taken_before(finished: RunDir, split: Split):
    found = pages_of(finished, split.train, window=8)
    assert len(found) == len(finished.pages)
    events = finished.events.to_pylist()
    ids, users = split.train.catalog.ids, split.train.users.ids
    told = [
        (found.policies[row], found.seeds[row], users[found.users[row]], found.pages[row], position, ids[item], grade)
        for row in range(len(found))
        for (item, grade, _), position in zip(found[row].candidates, found[row].positions, strict=True)
    ]
    assert told == [
        (*(event[name] for name in ("policy", "seed", "user_id", "page", "rank", "item_id")),
         Grade[event["grade"].upper()])
        for event in events
    ]  # fmt: skip
    for row in range(len(found)):
        user = found.users[row]
        past = split.train.interactions.items[split.train.starts[user] : split.train.starts[user + 1]].tolist()
        session = [
            int(split.train.catalog.index([event["item_id"]])[0])
            for event in events
            if (event["policy"], event["seed"], event["user_id"])
            == (found.policies[row], found.seeds[row], users[user])
            and event["page"] < found.pages[row]
            and event["grade"] in ("viewed", "liked")
        ]
        assert [item for item, _, _ in found[row].history] == (past + session)[-8:]


def test_held_out_items_are_refused_by_name_or_dropped(finished: RunDir, split: Split):
    with pytest.raises(
        DataError, match=r"held out for the same user.*item \d+ in user \d+, .*, page \d+.*--leaks drop"
    ):
        simulated(finished, split)
    found = simulated(finished, split, leaks="drop")
    held_out = held_out_keys(split)
    assert not np.isin(pair_keys(found.candidate_users, found.candidates.items), held_out).any()
    assert len(found.candidates.items) < len(pages_of(finished, split.train).candidates.items)


def test_one_policy_may_be_taken_alone(finished: RunDir, split: Split):
    assert set(pages_of(finished, split.train, policies=["pop"]).policies) == {"pop"}
    with pytest.raises(RunError, match="no policy 'ease' in its log; there are item-knn, pop, random"):
        pages_of(finished, split.train, policies=["ease"])


def test_a_run_of_other_data_is_told(finished: RunDir, split: Split):
    other = replace(split.train, interactions=split.train.interactions[np.arange(100)])
    with pytest.raises(RunError, match="its training rows were others"):
        pages_of(finished, other)


def test_logged_records_offer_what_the_user_is_known_to_have_liked_less(split: Split):
    found = logged(split, lower=2, unobserved=3)
    log = split.train.interactions
    grades = grades_of(log.ratings)
    known = {(user, item): grade for user, item, grade in zip(log.users.tolist(), log.items.tolist(), grades.tolist(),
                                                            strict=True)}  # fmt: skip
    assert len(found) == ((grades == Grade.LIKED) & (log.places(len(split.train.users)) > 0)).sum()
    for row in range(len(found)):
        record = found[row]
        (_, first, _), *others = record.candidates
        assert first == Grade.LIKED
        judged = [(item, grade) for item, grade, _ in others if grade != Grade.UNSEEN]
        assert len(judged) <= 2
        assert all(known[record.user, item] == grade < Grade.LIKED for item, grade in judged)
        never = [item for item, grade, _ in others if grade == Grade.UNSEEN]
        assert not any((record.user, item) in known for item in never)
        assert set(record.positions) == {NONE}


def test_records_are_read_as_they_were_written(finished: RunDir, split: Split, tmp_path: Path):
    one = simulated(finished, split, leaks="drop")
    one.write(tmp_path / "records.parquet", split.train)
    again = Records.read(tmp_path, split.train)
    assert [str(again[row]) for row in range(len(again))] == [str(one[row]) for row in range(len(one))]


def _damaged(path: Path, name: str, values: pa.Array) -> Path:
    table = pq.read_table(path)
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, values), path)
    return path


def test_what_is_wrong_in_a_file_of_records_is_told_by_row(finished: RunDir, split: Split, tmp_path: Path):
    path = tmp_path / "records.parquet"
    found = simulated(finished, split, leaks="drop").take(np.arange(3))

    def fresh() -> pa.Table:
        found.write(path, split.train)
        return pq.read_table(path)

    items = fresh()["items"].to_pylist()
    items[1][0] = 999_999
    with pytest.raises(DataError, match=r"records.parquet, row 2: no item 999999 in the data set of 80 items"):
        Records.read(_damaged(path, "items", pa.array(items)), split.train)
    fresh()
    with pytest.raises(DataError, match=r"row 1: no user 'nobody' in the data set"):
        Records.read(_damaged(path, "user_id", pa.array(["nobody"] * 3)), split.train)
    grades = fresh()["grades"].to_pylist()
    grades[2][0] = "hated"
    with pytest.raises(DataError, match=r"row 3: no grade 'hated'; there are unseen, disliked"):
        Records.read(_damaged(path, "grades", pa.array(grades)), split.train)
    ratings = fresh()["ratings"].to_pylist()
    ratings[0] = []
    with pytest.raises(DataError, match=r"row 1: 'ratings' is not as long as its items"):
        Records.read(_damaged(path, "ratings", pa.array(ratings, pa.list_(pa.float32()))), split.train)
    pq.write_table(fresh().drop_columns(["levels"]), path)
    with pytest.raises(DataError, match="no column 'levels'"):
        Records.read(path, split.train)
    pq.write_table(fresh().slice(0, 0), path)
    with pytest.raises(DataError, match="it has no records"):
        Records.read(path, split.train)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        Records.read(path, split.train)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match="not a parquet file, or cut off"):
        Records.read(path, split.train)
    with pytest.raises(DataError, match="no preference records here"):
        Records.read(tmp_path / "none.parquet", split.train)


@pytest.mark.parametrize(
    ("name", "values"),
    [("seed", ["a"] * 3), ("page", [0.5] * 3), ("confidence", ["sure"] * 3), ("positions", [["first"]] * 3)],
)
def test_a_column_of_another_kind_is_told(finished: RunDir, split: Split, tmp_path: Path, name: str, values: list):
    path = tmp_path / "records.parquet"
    simulated(finished, split, leaks="drop").take(np.arange(3)).write(path, split.train)
    with pytest.raises(DataError, match=rf"column '{name}' is .*; numbers .* are due"):
        Records.read(_damaged(path, name, pa.array(values)), split.train)


def test_a_column_without_a_value_needs_no_kind(finished: RunDir, split: Split, tmp_path: Path):
    path = tmp_path / "records.parquet"
    found = simulated(finished, split, leaks="drop").take(np.arange(3))
    found.write(path, split.train)
    again = Records.read(_damaged(path, "seed", pa.nulls(3)), split.train)
    assert (again.seeds == NONE).all()
    assert np.array_equal(again.positions, found.positions)


def test_a_beam_with_an_unknown_item_is_told_by_row(split: Split):
    train = split.train
    history = pages_history(2)
    codes = np.zeros((len(train.catalog), 2), int)
    with pytest.raises(SimenvError, match="row 2 of the beams: no item 80 in the catalogue"):
        self_play(np.array([0, 1]), history, np.array([1, 2]), np.array([[3, 4], [5, 80]]), codes, train)
    with pytest.raises(SimenvError, match="where the catalogue has 80 items"):
        self_play(np.array([0, 1]), history, np.array([1, 2]), np.array([[3, 4], [5, 6]]), codes[:9], train)


def test_a_source_that_is_none_is_told():
    with pytest.raises(DataError, match="source 'dream': there are logged, self-play, simulated"):
        make_records(np.array([0]), pages_history(1), pages_history(1), "dream")


def pages_history(count: int):
    from simenv.preferences.records import Graded

    nothing = np.zeros(0)
    return Graded(np.zeros(count + 1, int), nothing.astype(np.int32), nothing.astype(np.int8), nothing)
