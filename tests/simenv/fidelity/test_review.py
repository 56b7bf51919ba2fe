"""Reviewers find what a user would not do, and nothing in what he would."""

import json
from dataclasses import replace

import numpy as np
import pytest

from simenv.fidelity.review import RULES, Scale
from simenv.pages import EMPTY, Grade, Page, Reaction, Turn

SCALE = Scale(4.0, 2.0)
LIKED, PASSED, UNSEEN, DISLIKED = Grade.LIKED, Grade.PASSED, Grade.UNSEEN, Grade.DISLIKED


def turn(number: int = 1, satisfaction: float = 6.0, cause: str = "", **reaction: object) -> Turn:
    """Return one user's page of three places, the last of them empty, of which he liked the first."""
    one = np.zeros(1, dtype=int)
    page = Page(one, one, np.array([number]), np.array([[4, 7, EMPTY]]))
    grades = np.array([[LIKED, PASSED, UNSEEN]], dtype=np.int8)
    ratings = np.array([[5.0, np.nan, np.nan]])
    causes = np.array([cause], dtype=object)
    told = Reaction(grades, ratings, np.array([satisfaction]), np.array([bool(cause)]), causes)
    return Turn(page, replace(told, **reaction), np.zeros((1, 3), bool), np.zeros(1, bool))


def memory(*texts: tuple[str, str]) -> list[str]:
    return [json.dumps([[0, kind, text, 0.5] for kind, text in texts])]


def findings(one: Turn) -> list[str]:
    return [rule.name for rule in RULES if rule.finds(one, SCALE).any()]


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (turn(grades=np.array([[LIKED, PASSED, LIKED]], dtype=np.int8)), "not on the page"),
        (turn(ratings=np.array([[5.0, 3.0, np.nan]])), "not watched"),
        (turn(ratings=np.array([[1.0, np.nan, np.nan]])), "contradicts the grade"),
        (turn(number=0, cause="tired"), "tired on the first page"),
        (turn(satisfaction=9.5, cause="disappointed"), "after praise"),
        (turn(satisfaction=9.5, words=["Boring, what a waste"]), "words contradict"),
        (turn(satisfaction=1.5, words=["I loved it, perfect"]), "words contradict"),
        (turn(remembered=memory(("fact", "took nothing"))), "memory contradicts"),
        (turn(satisfaction=1.0, remembered=memory(("feeling", "was satisfied with the page"))), "memory contradicts"),
        (
            turn(satisfaction=9.0, remembered=memory(("feeling", "was dissatisfied"))),
            "memory contradicts",
        ),
    ],
)
def test_what_a_user_would_not_do_is_found(one: Turn, found: str):
    (name,) = findings(one)
    assert found in name


@pytest.mark.parametrize(
    "one",
    [
        turn(),
        turn(number=3, cause="tired"),
        turn(satisfaction=2.0, cause="disappointed"),
        turn(satisfaction=9.5, cause="called away", words=["Not boring at all"]),
        turn(satisfaction=9.5, words=["Great, though one was dull"]),
        turn(remembered=memory(("fact", "took Film A, rated 5 of 5; passed over Film B"))),
        turn(remembered=memory(("feeling", "was satisfied: nothing was bad"), ("belief", "took nothing"))),
        turn(remembered=["not json"]),
        turn(remembered=[None], words=[None]),
    ],
)
def test_what_a_user_might_do_is_not(one: Turn):
    assert findings(one) == []
