"""Users fitted to a log learn from training rows only, rate as the log does, and differ."""

from dataclasses import fields, replace

import numpy as np
import pytest

from simenv.agents.browsing import Minds
from simenv.agents.choice import ChoicePopulation
from simenv.arrays import FloatArray, IntArray
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.films import World, films_world
from simenv.interactions import Interactions
from simenv.loop import luck_of
from simenv.pages import Grade, Page, Reaction
from simenv.splits import leave_one_out


@pytest.fixture(scope="module")
def big() -> World:
    return films_world(users=300, items=300)


def fitted(dataset: Dataset, **options: float) -> ChoicePopulation:
    population = ChoicePopulation(**options)
    population.fit(dataset)
    return population


def react(population: ChoicePopulation, users: IntArray, items: IntArray, seed: int = 0) -> Reaction:
    """Return what these users do with a first page each [B, K]."""
    users = users.astype(np.int32)
    page = Page(users, np.arange(len(users)), np.zeros(len(users), np.int32), items)
    return population.enter(users, luck_of(seed, users)).react(page)


def the_same(one: Minds, other: Minds) -> bool:
    return all(
        np.array_equal(getattr(one, part.name), getattr(other, part.name))
        for part in fields(Minds)
        if part.name != "habits"
    )


def test_test_rows_teach_nothing(big: World):
    """Test rows with other items and ratings leave every mind as it was."""
    log = big.dataset.interactions
    split = leave_one_out(big.dataset)
    last = big.dataset.starts[1:] - 1
    items, ratings = log.items.copy(), log.ratings.copy()
    items[np.r_[last, last - 1]] = 0
    ratings[np.r_[last, last - 1]] = 1
    altered = leave_one_out(big.dataset.only(replace(log, items=items, ratings=ratings)))
    assert not np.array_equal(altered.test.items, split.test.items)

    assert the_same(fitted(altered.train).minds, fitted(split.train).minds)


def test_training_rows_teach(big: World):
    split = leave_one_out(big.dataset)
    log = split.train.interactions
    upset = split.train.only(replace(log, ratings=6 - log.ratings))
    assert not the_same(fitted(upset).minds, fitted(split.train).minds)


def ratings_of(population: ChoicePopulation, dataset: Dataset) -> FloatArray:
    """Return the ratings that users give to the items of their own training rows."""
    found = []
    for seed in range(12):
        rows = np.random.default_rng(seed).integers(len(dataset.interactions), size=4000)
        users, items = dataset.interactions.users[rows], dataset.interactions.items[rows]
        ratings = react(population, users, items[:, None], seed).ratings
        found.append(ratings[~np.isnan(ratings)])
    return np.concatenate(found)


def test_ratings_are_distributed_as_in_the_log(big: World):
    train = leave_one_out(big.dataset).train
    levels = np.arange(1, 6)

    given = ratings_of(fitted(train), train)

    told = np.array([(given == level).mean() for level in levels])
    real = np.array([(train.interactions.ratings == level).mean() for level in levels])
    assert np.abs(told - real).sum() / 2 < 0.1, (told, real)
    assert told[:2].min() > 0.25 * real[:2].min() > 0


@pytest.mark.parametrize("rating", [5.0, 1.0])
def test_users_of_one_opinion_still_do_both(big: World, rating: float):
    """Half of the users rated all they met alike; they view some items and pass over others."""
    log = big.dataset.interactions
    ratings = np.where(log.users % 2 == 0, np.float32(rating), log.ratings)
    population = fitted(big.dataset.only(replace(log, ratings=ratings)))
    even = np.arange(0, 300, 2)

    grades = np.concatenate([react(population, even, np.tile(np.arange(10 * n, 10 * n + 10), (150, 1))).grades
                             for n in range(20)], axis=1)  # fmt: skip

    viewed = ((grades >= Grade.VIEWED) | (grades == Grade.DISLIKED)).mean(axis=1)
    passed = (grades == Grade.PASSED).mean(axis=1)
    assert (viewed > 0).mean() > 0.95
    assert (passed > 0).all()


@pytest.mark.parametrize("rating", [5.0, 1.0])
def test_a_log_of_one_opinion_can_be_fitted(big: World, rating: float):
    log = big.dataset.interactions
    everybody = big.dataset.only(replace(log, ratings=np.full_like(log.ratings, rating)))
    reaction = react(fitted(everybody), np.arange(300), np.tile(np.arange(10), (300, 1)))
    grades = set(np.unique(reaction.grades).tolist())
    assert Grade.PASSED in grades
    assert len(grades - {Grade.UNSEEN, Grade.PASSED}) == 1
    assert set(reaction.ratings[~np.isnan(reaction.ratings)].tolist()) == {rating}


def test_without_ratings_items_are_liked_viewed_and_passed_and_never_rated(big: World):
    log = big.dataset.interactions
    implicit = big.dataset.only(replace(log, ratings=np.full_like(log.ratings, np.nan)))
    reaction = react(fitted(implicit), np.arange(300), np.tile(np.arange(10), (300, 1)))

    assert np.isnan(reaction.ratings).all()
    assert set(np.unique(reaction.grades)) == {Grade.UNSEEN, Grade.PASSED, Grade.VIEWED, Grade.LIKED}


def test_an_item_nobody_met_and_a_user_without_a_history_are_borne(big: World):
    log = big.dataset.interactions
    without = big.dataset.only(log[(log.users != 3) & (log.items != 7)])
    reaction = react(fitted(without), np.array([3, 4]), np.tile([7, 8, 9], (2, 1)))
    assert np.isfinite(reaction.satisfaction).all()


def test_users_choose_their_own_held_out_items_more_often_than_others():
    split = leave_one_out(films_world().dataset)
    population = fitted(split.train)
    users, own = split.test.users, split.test.items
    others = np.random.default_rng(0).permutation(own)  # as well known, and somebody else's
    chosen = {"own": 0, "others": 0}
    for seed in range(20):
        for name, items in (("own", own), ("others", others)):
            grades = react(population, users, items[:, None], seed).grades
            chosen[name] += int(((grades >= Grade.VIEWED) | (grades == Grade.DISLIKED)).sum())
    assert chosen["own"] > 1.05 * chosen["others"]


def test_another_seed_calibrates_on_other_rows(big: World):
    assert not the_same(fitted(big.dataset, seed=0).minds, fitted(big.dataset, seed=1).minds)


def test_too_few_rows_are_told(big: World):
    few = big.dataset.only(big.dataset.interactions[np.arange(9)])
    with pytest.raises(SimenvError, match="9 training rows are too few"):
        fitted(few)


def test_ten_rows_are_enough():
    dataset = films_world(users=10, items=30).dataset
    log, _ = Interactions.sort(np.arange(10), np.arange(10) % 4, np.float32([1, 2, 3, 4, 5] * 2))
    reaction = react(fitted(dataset.only(log)), np.arange(10), np.tile(np.arange(5), (10, 1)))
    assert np.isfinite(reaction.satisfaction).all()
