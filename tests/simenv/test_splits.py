from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simenv.dataset import Dataset, Users
from simenv.errors import DataError
from simenv.interactions import NO_TIME, Interactions
from simenv.readers.assembly import bare_catalog
from simenv.splits import Split, as_published, by_time, leave_one_out

Row = tuple[int, int, int]  # user, item, time


def dataset_of(rows: list[Row]) -> Dataset:
    users, items, times = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    log, _ = Interactions.sort(users, items, times=times)
    return Dataset("tiny", bare_catalog(np.arange(9)), Users(np.arange(5)), log)


def rows_of(log: Interactions) -> list[Row]:
    return list(zip(log.users.tolist(), log.items.tolist(), log.times.tolist(), strict=True))


def parts(split: Split) -> Counter[Row]:
    return Counter(rows_of(split.train.interactions) + rows_of(split.valid) + rows_of(split.test))


ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8), st.integers(0, 50)), min_size=1, max_size=40)


@given(ROWS, st.sampled_from([leave_one_out, by_time]))
def test_no_row_is_lost_or_doubled(rows: list[Row], cut: Callable[[Dataset], Split]):
    try:
        split = cut(dataset_of(rows))
    except DataError:  # all at one moment: nothing to train on
        assume(False)

    assert parts(split) == Counter(rows)


@given(ROWS)
def test_leaving_one_out_trains_on_what_each_user_met_before(rows: list[Row]):
    split = leave_one_out(dataset_of(rows))

    for user in np.unique(split.test.users).tolist():
        train = split.train.interactions.times[split.train.interactions.users == user]
        valid = split.valid.times[split.valid.users == user]
        test = split.test.times[split.test.users == user]
        assert (len(valid), len(test)) == (1, 1)
        assert train.max() <= valid[0] <= test[0]


@given(ROWS, st.floats(0.05, 0.4), st.floats(0, 0.4))
def test_a_split_by_time_trains_on_what_anybody_did_before(rows: list[Row], test: float, valid: float):
    try:
        split = by_time(dataset_of(rows), test=test, valid=valid)
    except DataError:
        assume(False)

    last = split.train.interactions.times.max()
    assert (split.valid.times > last).all()
    assert (split.test.times > max([last, *split.valid.times.tolist()])).all()


def test_users_of_two_rows_only_train():
    split = leave_one_out(dataset_of([(0, 1, 1), (0, 2, 2), (1, 3, 1), (1, 4, 2), (1, 5, 3)]))

    assert rows_of(split.train.interactions) == [(0, 1, 1), (0, 2, 2), (1, 3, 1)]
    assert rows_of(split.valid) == [(1, 4, 2)]
    assert rows_of(split.test) == [(1, 5, 3)]


def test_a_split_by_time_needs_times():
    with pytest.raises(DataError, match="1 of 2 interactions have no time"):
        by_time(dataset_of([(0, 1, NO_TIME), (0, 2, 5)]))


@pytest.mark.parametrize("shares", [(0.0, 0.1), (0.6, 0.4), (1.0, 0.0), (0.5, -0.1)])
def test_shares_must_leave_something_to_train_on(shares: tuple[float, float]):
    with pytest.raises(DataError, match="must leave something to train on"):
        by_time(dataset_of([(0, 1, 1), (0, 2, 5)]), *shares)


def test_a_published_split_is_kept_word_for_word():
    dataset = dataset_of([(0, 1, 1), (0, 2, 2), (0, 3, 3), (1, 4, 1)])
    dataset = Dataset(
        dataset.name,
        dataset.catalog,
        dataset.users,
        dataset.interactions,
        {"paper": np.array(["train", "test", "valid", ""], dtype=object)},
    )

    split = as_published(dataset, "paper")

    assert rows_of(split.train.interactions) == [(0, 1, 1)]
    assert rows_of(split.valid) == [(0, 3, 3)]
    assert rows_of(split.test) == [(0, 2, 2)]
    with pytest.raises(DataError, match="no published split 'split'; there are: paper"):
        as_published(dataset)
