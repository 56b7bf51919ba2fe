from itertools import permutations

import numpy as np
import pytest

from simenv.context import Context
from simenv.dataset import Dataset, Users
from simenv.errors import PageError
from simenv.interactions import Interactions
from simenv.metrics import offline_metrics
from simenv.ranking import by_chance, qualities, rank, ranking_table
from simenv.readers.assembly import bare_catalog
from simenv.splits import Split


def split_of(train: list[tuple[int, int]], test: list[tuple[int, int]], items: int = 6) -> Split:
    def log(rows: list[tuple[int, int]]) -> Interactions:
        users, chosen = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
        return Interactions.sort(users, chosen)[0]

    data = Dataset("tiny", bare_catalog(np.arange(items)), Users(np.arange(3)), log(train))
    return Split(data, log(train)[np.arange(0)], log(test), "by hand")


class Says:
    """Ranks as it is told."""

    def __init__(self, *rows: list[int]) -> None:
        self.rows = np.array(rows)

    def fit(self, dataset: Dataset) -> None:
        """Learn nothing."""

    def recommend(self, context: object, k: int) -> np.ndarray:  # noqa: ARG002
        return self.rows


def test_an_item_named_twice_counts_once():
    table = ranking_table(split_of([(0, 0)], [(0, 1)]), Says([1, 1, 1]), np.arange(3), 3)
    assert table["item_id"].to_pylist() == [1, None, None]
    assert offline_metrics(table)["recall@3"].mean == 1.0


def test_an_item_outside_the_catalogue_is_told():
    with pytest.raises(PageError, match="no item 6"):
        ranking_table(split_of([(0, 0)], [(0, 1)]), Says([6, 1, 2]), np.arange(3), 3)


def test_what_was_met_in_training_is_not_wanted_again():
    split = split_of([(0, 0), (1, 0)], [(0, 0), (0, 1), (1, 0)])
    table = ranking_table(split, Says([1, 2]), np.arange(3), 2)
    assert set(table["user_id"].to_pylist()) == {0}
    assert offline_metrics(table)["recall@2"].mean == 1.0


def test_without_tested_users_there_is_nothing_to_measure():
    split = split_of([(0, 0)], [(0, 1)])
    assert offline_metrics(ranking_table(split, Says(), np.array([2]), 2)) == {}


class Remembers:
    """Ranks the last item that it was told of first."""

    def fit(self, dataset: Dataset) -> None:
        """Learn nothing."""

    def recommend(self, context: Context, k: int) -> np.ndarray:
        scores = np.zeros((len(context), len(context.train.catalog)))
        self.told = context.train.interactions.items.tolist()
        return context.top(scores, k)


def test_a_policy_is_told_of_the_window_and_the_whole_history_is_left_out():
    split = split_of([(0, 0), (0, 1), (0, 2), (1, 5)], [(0, 4), (1, 4)])
    policy = Remembers()
    found = rank(policy, split.train, split.test, np.arange(2), 3, window=2)
    assert policy.told == [1, 2, 5]
    assert found.items.tolist() == [[3, 4, 5], [0, 1, 2]]


def test_chance_is_what_all_orders_give_on_average():
    for wanted, left, k in [(1, 4, 2), (2, 5, 3), (3, 4, 4), (1, 1, 1)]:
        orders = list(permutations([True] * wanted + [False] * (left - wanted)))
        values = qualities(np.array(orders)[:, :k], np.full(len(orders), wanted)).mean(axis=0)
        assert by_chance(np.array([wanted]), np.array([left]), k)[0] == pytest.approx(values)


def test_an_item_that_is_no_candidate_is_told():
    split = split_of([(0, 0)], [(0, 1)])
    with pytest.raises(PageError, match="item 3 for user 0 is none of his candidates"):
        rank(Says([1, 3]), split.train, split.test, np.arange(1), 2, candidates=np.array([[1, 2]]))
    found = rank(Says([2, 1, -1]), split.train, split.test, np.arange(1), 3, candidates=np.array([[1, 2]]))
    assert found.relevant.tolist() == [[False, True, False]]
