"""Users who answer from a log say what they said, and are silent otherwise."""

import numpy as np
import pytest

from simenv.agents.replay import ReplayPopulation
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.films import World
from simenv.interactions import Interactions
from simenv.loop import luck_of
from simenv.pages import EMPTY, Grade, Page, Reaction

HELD_OUT, _ = Interactions.sort(
    np.array([0, 0, 0, 1]), np.array([4, 5, 6, 4]), np.array([5, 1, 3, 4], dtype=np.float32)
)


def react(dataset: Dataset, held_out: Interactions, users: list[int], items: list[list[int]]) -> Reaction:
    population = ReplayPopulation(held_out)
    population.fit(dataset)
    who = np.array(users, dtype=np.int32)
    page = Page(who, np.arange(len(who)), np.zeros(len(who), np.int32), np.array(items, dtype=np.int32))
    return population.enter(who, luck_of(0, who)).react(page)


def test_a_user_says_what_he_said(world: World):
    reaction = react(world.dataset, HELD_OUT, [0], [[4, 5, 6]])

    assert reaction.grades.tolist() == [[Grade.LIKED, Grade.DISLIKED, Grade.VIEWED]]
    assert reaction.ratings.tolist() == [[5, 1, 3]]
    assert reaction.known.tolist() == [[True, True, True]]
    assert reaction.satisfaction.tolist() == [4]


def test_what_was_never_said_is_passed_over_and_unknown(world: World):
    reaction = react(world.dataset, HELD_OUT, [1, 2], [[4, 5, EMPTY], [4, 5, 79]])

    assert reaction.grades.tolist() == [[Grade.LIKED, Grade.PASSED, Grade.UNSEEN], [Grade.PASSED] * 3]
    assert reaction.known.tolist() == [[True, False, False], [False] * 3]
    assert np.isnan(reaction.ratings[1]).all()


def test_a_choice_without_a_rating_is_liked(world: World):
    chosen, _ = Interactions.sort(np.array([0]), np.array([4]))
    implicit = world.dataset.only(chosen)

    reaction = react(implicit, chosen, [0], [[4, 5, 6]])

    assert reaction.grades.tolist() == [[Grade.LIKED, Grade.PASSED, Grade.PASSED]]
    assert reaction.known.tolist() == [[True, False, False]]


def test_the_scale_is_that_of_all_ratings(world: World):
    """3 is no 'liked' where others gave 5, even if nobody held out did."""
    low, _ = Interactions.sort(np.array([0]), np.array([4]), np.array([3], dtype=np.float32))
    assert react(world.dataset, low, [0], [[4]]).grades.tolist() == [[Grade.VIEWED]]


def test_nobody_leaves(world: World):
    reaction = react(world.dataset, HELD_OUT, [0, 1], [[5, 7], [5, 7]])
    assert not reaction.exits.any()
    assert reaction.causes.tolist() == ["", ""]


def test_nothing_held_out_is_told(world: World):
    with pytest.raises(SimenvError, match="holds nothing out"):
        ReplayPopulation(world.dataset.interactions[np.arange(0)])
