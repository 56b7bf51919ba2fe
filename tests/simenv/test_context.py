"""What a policy is told of the past and of this session."""

from dataclasses import replace

import numpy as np
import pytest

from simenv.catalog import Catalog
from simenv.context import Context
from simenv.dataset import Dataset, Users
from simenv.interactions import Interactions
from simenv.loop import luck_of
from simenv.pages import EMPTY, Grade

ITEMS = 6


def context(shown: list[list[int]], grades: list[list[int]], **options: bool) -> Context:
    """Return two users, the first of whom has met 0 and 1, and the second nothing."""
    log, _ = Interactions.sort(np.array([0, 0]), np.array([0, 1]))
    nothing = np.full(ITEMS, None, dtype=object)
    catalog = Catalog(np.arange(ITEMS), nothing, ((),) * ITEMS, nothing, np.full(ITEMS, np.nan))
    users = np.arange(2, dtype=np.int32)
    return Context(
        Dataset("two", catalog, Users(np.arange(2)), log),
        users,
        np.ones(2, np.int32),
        np.array(shown, dtype=np.int32),
        np.array(grades, dtype=np.int8),
        luck_of(0, users),
        **options,
    )


SHOWN = [[2, 3, EMPTY], [4, 5, 0]]
GRADES = [[Grade.LIKED, Grade.PASSED, Grade.UNSEEN], [Grade.VIEWED, Grade.DISLIKED, Grade.UNSEEN]]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, [[4, 5], [1, 2, 3]]),
        ({"leave_out_past": False}, [[0, 1, 4, 5], [1, 2, 3]]),
        ({"leave_out_shown": False}, [[2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]),
        ({"leave_out_past": False, "leave_out_shown": False}, [list(range(6))] * 2),
    ],
)
def test_the_mask_leaves_what_may_be_shown(options: dict[str, bool], left: list[list[int]]):
    scores = context(SHOWN, GRADES, **options).mask(np.zeros((2, ITEMS)))
    assert [np.flatnonzero(np.isfinite(row)).tolist() for row in scores] == left


def test_a_profile_is_the_past_and_what_pleased_in_this_session():
    profile = context(SHOWN, GRADES).profile().toarray()
    assert profile.tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0.5, 0]]


def test_a_profile_may_weigh_otherwise():
    profile = context(SHOWN, GRADES).profile(liked=2.0, viewed=0.0).toarray()
    assert profile.tolist() == [[1, 1, 2, 0, 0, 0], [0] * 6]


def test_before_the_first_page_the_profile_is_the_past():
    profile = context([[], []], [[], []]).profile().toarray()
    assert profile.tolist() == [[1, 1, 0, 0, 0, 0], [0] * 6]


def test_a_context_counts_its_users():
    assert len(context(SHOWN, GRADES)) == 2


@pytest.mark.parametrize("leave_out_shown", [True, False])
@pytest.mark.parametrize("past", [[0, 1], [0, 1, 0, 0]])
def test_sums_are_the_profiles(past: list[int], leave_out_shown: bool):
    """Also where an item is met twice: in the past, or in a session that may show it again."""
    shown, grades = [[2, 3, 0], [4, 5, 4]], [[Grade.LIKED, Grade.PASSED, Grade.VIEWED], [Grade.VIEWED] * 3]
    if leave_out_shown:
        shown[1][2] = EMPTY
    asked = context(shown, grades, leave_out_shown=leave_out_shown)
    log, _ = Interactions.sort(np.zeros(len(past), int), np.array(past))
    asked = replace(asked, train=asked.train.only(log))
    table = np.random.default_rng(0).normal(size=(ITEMS, 3)).astype(np.float32)

    total, mass = asked.sums(table)

    profile = asked.profile()
    assert np.allclose(total, profile @ table, atol=1e-6)
    assert np.allclose(mass, profile.sum(axis=1))
    assert mass[0] == 3


def test_a_history_ends_with_what_pleased_last():
    asked = context(SHOWN, GRADES)
    assert asked.histories(4).tolist() == [[EMPTY, 0, 1, 2], [EMPTY, EMPTY, EMPTY, 4]]
    assert asked.histories(2).tolist() == [[1, 2], [EMPTY, 4]]
    assert asked.histories(2, viewed=False).tolist() == [[1, 2], [EMPTY, EMPTY]]
