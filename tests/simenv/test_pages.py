"""What a grade means."""

import math

import numpy as np
import pytest

from simenv.pages import GRADE_WORDS, Grade, watched


def test_grades_are_ordered_and_unseen_stands_outside():
    assert Grade.DISLIKED < Grade.PASSED < Grade.VIEWED < Grade.LIKED
    assert Grade.UNSEEN == 0


def test_a_grades_word_is_its_name():
    assert [GRADE_WORDS[grade] for grade in Grade] == ["unseen", "disliked", "passed", "viewed", "liked"]


@pytest.mark.parametrize(
    ("grade", "rating", "was"),
    [
        (Grade.LIKED, math.nan, True),
        (Grade.LIKED, 5, True),
        (Grade.VIEWED, math.nan, True),
        (Grade.DISLIKED, 1, True),
        (Grade.DISLIKED, math.nan, False),
        (Grade.PASSED, math.nan, False),
        (Grade.UNSEEN, math.nan, False),
    ],
)
def test_watched_is_viewed_liked_or_rated_down(grade: Grade, rating: float, was: bool):
    assert watched(np.array([grade], dtype=np.int8), np.array([rating])).tolist() == [was]
