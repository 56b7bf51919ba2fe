"""Reviewers find what a user would not do, and nothing in what he would; they say which rules cannot apply."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from simenv.fidelity.bench import IN_WORDS, METRICS, Played
from simenv.fidelity.results import LIMITS
from simenv.fidelity.review import reviewed
from simenv.fidelity.rules import RULES, Evidence, Rule, Scale
from simenv.fidelity.statements import Statements
from simenv.pages import EMPTY, Grade, Page, Reaction, Turn

SCALE = Scale(4.0, 2.0)
LIKED, PASSED, UNSEEN, DISLIKED, VIEWED = Grade.LIKED, Grade.PASSED, Grade.UNSEEN, Grade.DISLIKED, Grade.VIEWED
TITLES = ["Film A"] * 4 + ["The Long Road (1999)", "Silent Harbour", "Green Bottle Hill", "Harbour, The (1950)", "X"]
KINDS = [("Drama",), ("Drama",), ("Drama",), ("Drama",), ("Horror",), ("Horror",), ("Horror", "Comedy"), ("War",), ()]
RULE = {rule.name: rule for rule in RULES}


def turn(number: int = 1, satisfaction: float = 6.0, cause: str = "", **reaction: object) -> Turn:
    """Return one user's page of three places, the last of them empty, of which he liked the first."""
    one = np.zeros(1, dtype=int)
    items = reaction.pop("items", [4, 7, EMPTY])
    page = Page(one, one, np.array([number]), np.array([items]))
    grades = np.array([[LIKED, PASSED, UNSEEN]], dtype=np.int8)
    ratings = np.array([[5.0, np.nan, np.nan]])
    causes = np.array([cause], dtype=object)
    told = Reaction(grades, ratings, np.array([satisfaction]), np.array([bool(cause)]), causes)
    changed = {name: np.array([value]) if name in ("grades", "ratings") else value for name, value in reaction.items()}
    return Turn(page, replace(told, **changed), np.zeros((1, 3), bool), np.zeros(1, bool))


def session(*turns: Turn, persona: Mapping[str, object] | None = None) -> Evidence:
    """Return one user's session as reviewers read it."""
    personas = {0: persona} if persona else {}
    return Evidence(Played(list(turns), 1), SCALE, Statements(TITLES, KINDS, personas))


def memory(*texts: tuple[str, str]) -> list[str]:
    return [json.dumps([[0, kind, text, 0.5] for kind, text in texts])]


def findings(evidence: Evidence) -> list[str]:
    return [rule.name for rule in RULES if rule.finds(evidence).any()]


ALL_LIKED, ALL_DISLIKED = (LIKED, LIKED, UNSEEN), (DISLIKED, DISLIKED, UNSEEN)
HATES_HORROR = {"dislikes": ["Horror, such as 'Film A'"], "tastes": ["Comedy, such as 'Green Bottle Hill'"]}


@pytest.mark.parametrize(
    ("evidence", "found"),
    [
        (session(turn(grades=[LIKED, PASSED, LIKED])), "not on the page"),
        (session(turn(ratings=[5.0, 3.0, np.nan])), "not watched"),
        (session(turn(ratings=[1.0, np.nan, np.nan])), "contradicts the grade"),
        (session(turn(number=0, cause="tired")), "tired on the first page"),
        (session(turn(satisfaction=9.5, cause="disappointed")), "after praise"),
        (session(turn(satisfaction=9.5, words=["Boring, what a waste"])), "words contradict"),
        (session(turn(satisfaction=1.5, words=["I loved it, perfect"])), "words contradict"),
        (session(turn(remembered=memory(("fact", "took nothing")))), "memory contradicts"),
        (
            session(turn(satisfaction=1.0, remembered=memory(("feeling", "was satisfied with the page")))),
            "memory contradicts",
        ),
        (session(turn(satisfaction=9.0, remembered=memory(("feeling", "was dissatisfied")))), "memory contradicts"),
        (session(turn(satisfaction=1.5, grades=ALL_LIKED, ratings=[5.0, 4.0, np.nan])), "satisfaction contradicts"),
        (session(turn(satisfaction=9.5, grades=ALL_DISLIKED, ratings=[1.0, 2.0, np.nan])), "satisfaction contradicts"),
        (session(turn(0, 9.5), turn(1, 9.0, "bored", verdicts=np.array([2.0]))), "verdict after leaving"),
        (session(turn(0, 2.0), turn(1, 3.0, "bored", verdicts=np.array([9.0]))), "verdict after leaving"),
        (session(turn(0), turn(1, grades=[DISLIKED, PASSED, UNSEEN], ratings=[1.0] + 2 * [np.nan])), "the same item"),
        (session(turn(0), turn(1, items=[5, 7, EMPTY]), persona=HATES_HORROR), "stated taste rejects"),
        (session(turn(number=0, satisfaction=9.0, cause="bored")), "although satisfied"),
        (session(turn(words=["I wanted Silent Harbour"])), "not shown"),
        (session(turn(0), turn(1, items=[3, 2, EMPTY]), turn(2, items=[1, 8, EMPTY])), ""),
        (
            session(*(turn(place, grades=ALL_LIKED, ratings=[5.0, 5.0, np.nan], items=[place, place + 3, EMPTY])
                      for place in range(3))),
            "all alike",
        ),
    ],
)  # fmt: skip
def test_what_a_user_would_not_do_is_found(evidence: Evidence, found: str):
    names = findings(evidence)
    assert len(names) == bool(found)
    assert all(found in name for name in names)


@pytest.mark.parametrize(
    "evidence",
    [
        session(turn()),
        session(turn(number=3, cause="tired")),
        session(turn(satisfaction=2.0, cause="disappointed")),
        session(turn(satisfaction=9.5, cause="called away", words=["Not boring at all"])),
        session(turn(number=0, satisfaction=9.5, cause="called away")),
        session(turn(satisfaction=9.5, words=["Great, though one was dull"])),
        session(turn(remembered=memory(("fact", "took Film A, rated 5 of 5; passed over Film B")))),
        session(turn(remembered=memory(("feeling", "was satisfied: nothing was bad"), ("belief", "took nothing")))),
        session(turn(remembered=["not json"])),
        session(turn(remembered=[None], words=[None])),
        session(turn(0), turn(1)),  # shown twice and liked twice
        session(turn(0, 5.0), turn(1, 9.5, "bored", verdicts=np.array([2.0]))),
        session(turn(words=["Long Road was fine, and so was the silent harbour of a mind"])),
        session(turn(0), turn(1, items=[1, 2, EMPTY], words=["The Long Road was better"])),
        session(turn(words=["Like Green Bottle Hill"]), persona=HATES_HORROR),
        session(turn(0), turn(1, items=[6, 7, EMPTY]), persona=HATES_HORROR),  # one exception, and a comedy
        session(turn(0), turn(1, items=[5, 7, EMPTY]), persona={"dislikes": ["War"], "tastes": []}),
        session(*(turn(place, 5.0 + place, grades=ALL_LIKED, items=[place, place + 3, EMPTY]) for place in range(3))),
    ],
)
def test_what_a_user_might_do_is_not(evidence: Evidence):
    assert findings(evidence) == []


@pytest.mark.parametrize(
    ("evidence", "missing"),
    [
        (session(turn(items=[4, 7, 1])), "on the page"),
        (session(turn(ratings=3 * [np.nan])), "not watched"),
        (session(turn()), "memory contradicts"),
        (session(turn()), "contradicts the grade"),  # one rating, one grade: it is read off it
        (session(turn(number=0, cause="tired")), "after praise"),
        (session(turn()), "tired on the first page"),
        (session(turn(words=["so-so"])), "words contradict"),
        (session(turn()), "satisfaction contradicts"),
        (session(turn()), "verdict after leaving"),
        (session(turn()), "the same item"),
        (session(turn()), "stated taste"),
        (session(turn(), persona={"dislikes": ["War"]}), "all alike"),
        (session(turn(number=3, cause="bored")), "although satisfied"),
        (session(turn()), "not shown"),
    ],
)
def test_a_rule_that_cannot_fire_is_told_with_its_reason(evidence: Evidence, missing: str):
    (rule,) = [rule for rule in RULES if missing in rule.name]

    found = reviewed({"pop": evidence}, 1, LIMITS)

    (row,) = [row for row in found.tables[0].rows if row[0] == rule.name]
    assert row[2:] == (0, None, "", rule.missing)


def test_a_grade_that_is_not_read_off_the_rating_can_contradict_it():
    apart = session(turn(0), turn(1, grades=[VIEWED, PASSED, UNSEEN]))
    wrong = session(turn(grades=[DISLIKED, PASSED, UNSEEN]))

    assert RULE["rating contradicts the grade"].applies(apart).all()
    assert RULE["rating contradicts the grade"].applies(wrong).all()


def test_what_is_found_is_always_among_what_a_rule_applies_to():
    wrong = [
        session(turn(0, 9.5, "bored", words=["I wanted Silent Harbour. Dull"], verdicts=np.array([2.0]))),
        session(turn(0), turn(1, grades=[DISLIKED, PASSED, LIKED], ratings=[1.0, 4.0, np.nan])),
    ]
    for evidence in wrong:
        for rule in RULES:
            assert (rule.applies(evidence) | ~rule.finds(evidence)).all(), rule.name


def played(likes: Sequence[int], wrong: Sequence[bool]) -> Evidence:
    """Return one-page sessions with so many likes, of which some contradict themselves."""
    count = len(likes)
    seats = np.arange(count)
    grades = np.where(np.arange(3) < np.array(likes)[:, None], LIKED, PASSED).astype(np.int8)
    causes = np.where(wrong, "tired", "").astype(object)
    reaction = Reaction(grades, np.full((count, 3), np.nan), 2.0 + np.array(likes), np.array(wrong), causes)
    page = Page(seats, seats, np.zeros(count, dtype=int), np.arange(3)[None, :].repeat(count, axis=0))
    return Evidence(Played([Turn(page, reaction, grades < 0, np.zeros(count, bool))], count), SCALE)


def test_every_metric_is_told_again_without_tainted_sessions():
    logs = {"a": played([3, 3, 1, 1], [True, True, False, False]), "b": played([2, 2, 2, 2], [False] * 4)}

    found = reviewed(logs, 4, LIMITS)

    table = found.tables[1]
    first = dict(zip(table.heads, table.rows[0], strict=True))
    assert first["tainted"] == 0.5
    by_hand = {"likes": (2.0, 1.0), "satisfaction": (4.0, 3.0), "share viewed": (2 / 3, 1 / 3), "pages": (1.0, 1.0)}
    for metric in METRICS:
        word = IN_WORDS[metric]
        assert (first[word], first[f"{word} without"]) == pytest.approx(by_hand[word])
        lent = {figure.name: figure.value.mean for figure in found.figures}
        assert lent[f"{word}: most that such sessions add to a policy's mean"] == pytest.approx(
            by_hand[word][0] - by_hand[word][1]
        )


def test_pairs_that_change_places_are_counted_by_every_metric():
    logs = {"a": played([3, 3, 1, 1], [True, True, False, False]), "b": played([2, 2, 1, 2], [False] * 4)}

    found = {figure.name: figure.value.mean for figure in reviewed(logs, 4, LIMITS).figures}

    assert found["likes: share of pairs of policies that change places without them"] == 1.0
    assert found["satisfaction: share of pairs of policies that change places without them"] == 1.0
    assert found["pages: share of pairs of policies that change places without them"] == 0.0


def test_each_rule_says_why_it_may_not_apply():
    assert all(isinstance(rule, Rule) and rule.missing for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
