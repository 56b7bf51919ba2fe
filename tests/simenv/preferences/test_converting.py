"""Small records known by heart, and what is made of them."""

import numpy as np
import pytest

from simenv.errors import DataError
from simenv.pages import EMPTY, Grade
from simenv.preferences.converting import lists_of, to_groups, to_labels, to_lists, to_pairs
from simenv.preferences.records import Graded, Records, begins, make_records
from simenv.preferences.selfplay import Level, levels_of

D, P, V, L, U = Grade.DISLIKED, Grade.PASSED, Grade.VIEWED, Grade.LIKED, Grade.UNSEEN


def record(*pages: list[tuple[int, Grade, float]], users: list[int] | None = None) -> Records:
    items, grades, ratings = (np.array(column) for column in zip(*(one for page in pages for one in page), strict=True))
    return make_records(
        np.zeros(len(pages), int) if users is None else np.array(users),
        Graded(np.zeros(len(pages) + 1, int), items[:0], grades[:0].astype(np.int8), ratings[:0]),
        Graded(begins(np.array([len(page) for page in pages])), items, grades.astype(np.int8), ratings),
        "simulated",
        positions=np.concatenate([np.arange(len(page)) for page in pages]),
    )


PAGE = record([(7, L, 5.0), (3, P, np.nan), (5, D, 1.0), (2, V, 3.0), (9, U, np.nan)])


def told(pairs) -> list[tuple[int, int, float]]:
    return list(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), pairs.gaps.tolist(), strict=True))


def test_a_page_gives_what_was_liked_over_what_was_passed_and_disliked():
    assert told(to_pairs(PAGE)) == [(7, 3, 2.0), (7, 5, 3.0)]
    assert told(to_pairs(PAGE, against="passed")) == [(7, 3, 2.0)]
    assert told(to_pairs(PAGE, against="disliked")) == [(7, 5, 3.0)]
    assert told(to_pairs(PAGE, least_gap=3)) == [(7, 5, 3.0)]
    assert told(to_pairs(PAGE, least=Grade.VIEWED)) == [(7, 3, 2.0), (7, 5, 3.0), (2, 3, 1.0), (2, 5, 2.0)]


def test_ratings_give_gaps_of_their_own():
    assert told(to_pairs(PAGE, by="rating")) == [(7, 5, 4.0), (7, 2, 2.0)]
    assert told(to_pairs(PAGE, by="rating", least_gap=3)) == [(7, 5, 4.0)]


def test_an_item_liked_once_is_rejected_nowhere():
    twice = record([(7, L, 5.0), (3, P, np.nan)], [(3, L, 4.0), (4, P, np.nan)])
    assert told(to_pairs(twice)) == [(3, 4, 2.0)]
    strangers = record([(7, L, 5.0), (3, P, np.nan)], [(3, L, 4.0), (4, P, np.nan)], users=[0, 1])
    assert told(to_pairs(strangers)) == [(7, 3, 2.0), (3, 4, 2.0)]


def test_confidence_falls_where_the_users_other_judgements_disagree():
    found = record([(7, L, 5.0), (3, P, np.nan)], [(7, V, 3.0), (4, P, np.nan)])
    assert np.isnan(to_pairs(found).confidence).all()  # of item 3 there is one judgement, and nothing else to go by
    again = record([(7, L, 5.0), (3, P, np.nan)], [(7, V, 3.0), (3, P, np.nan)], [(7, L, 3.0), (3, D, np.nan)])
    assert to_pairs(again, against="passed").confidence.tolist() == [0.5]  # 7 was viewed once and liked once beside
    firm = record([(7, L, 5.0), (3, P, np.nan)], [(7, L, 4.0), (3, P, np.nan)])
    assert to_pairs(firm).confidence.tolist() == [1.0, 1.0]


def test_confidence_by_other_chance_is_the_share_of_draws_in_which_the_preference_holds():
    found = record([(7, L, 5.0), (3, P, np.nan)], [(8, L, 5.0), (4, P, np.nan)])
    redrawn = np.array([[L, P, V, P], [V, P, P, L], [P, L, P, L], [U, P, P, P]], dtype=np.int8)
    # 7 over 3 holds in two draws of three, 8 over 4 in one of three; in all in 3 of 6.
    assert to_pairs(found, redrawn=redrawn).confidence.tolist() == pytest.approx([(2 + 1) / 5, (1 + 1) / 5])


def test_pairs_are_gathered_to_lists_without_repeating_any():
    found = record([(7, L, 5.0), (8, L, 5.0), (3, P, np.nan), (5, D, 1.0)], [(1, L, 4.0), (2, P, np.nan)])
    lists = to_lists(found)
    assert lists.chosen.tolist() == [[7], [8], [1]]
    assert [sorted(row) for row in lists.rejected.tolist()] == [[3, 5], [3, 5], [EMPTY, 2]]
    gaps = {(item, gap) for row, gaps in zip(lists.rejected.tolist(), lists.gaps.tolist(), strict=True)
            for item, gap in zip(row, gaps, strict=True)}  # fmt: skip
    assert gaps == {(3, 2.0), (5, 3.0), (2, 2.0), (EMPTY, 0.0)}
    many = to_lists(found, positives="many")
    assert many.chosen.tolist() == [[7, 8], [1, EMPTY]]
    assert [len(set(row) - {EMPTY}) for row in many.rejected.tolist()] == [2, 1]
    assert to_lists(found, most=1).rejected.shape == (3, 1)


def test_groups_have_a_reward_for_all_that_was_judged():
    groups = to_groups(PAGE)
    assert groups.candidates.tolist() == [[7, 3, 5, 2]]
    assert groups.rewards.tolist() == [[1.0, 0.0, -1.0, 0.5]]
    assert to_groups(PAGE, rewards={Grade.LIKED: 2.0, Grade.VIEWED: 1.0}).candidates.tolist() == [[7, 2]]
    assert to_groups(PAGE, most=2).candidates.tolist() == [[7, 3]]


def test_labels_are_good_or_bad_and_nothing_between():
    labels = to_labels(PAGE)
    assert list(zip(labels.items.tolist(), labels.good.tolist(), strict=True)) == [(7, True), (3, False), (5, False)]


def test_levels_go_by_the_beginning_of_the_codes_and_not_by_equal_places():
    codes = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
    levels = levels_of(codes, np.array([[1, 2, 3, 4]]), np.array([0]))
    assert levels.tolist() == [[Level.HARD, Level.MEDIUM, Level.EASY, Level.HARD]]


def test_nothing_in_gives_nothing_out():
    none = PAGE.take(np.zeros(1, dtype=bool))
    assert not len(to_pairs(none))
    assert not len(lists_of(to_pairs(none)))
    assert not len(to_groups(none))


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"against": "viewed"}, "against viewed: there are both, passed, disliked"),
        ({"by": "mood"}, "by mood: there are grade and rating"),
        ({"least_gap": 0}, "pairs take a gap above 0"),
        ({"unobserved": "bad"}, "unobserved bad: there are never, negative"),
    ],
)
def test_an_option_that_is_none_is_told(option: dict, says: str):
    with pytest.raises(DataError, match=says):
        to_pairs(PAGE, **option)
