"""The page loop shows each item once, remembers what it showed, and refuses what cannot be shown."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simenv.arrays import BitArray, IntArray
from simenv.dataset import Dataset
from simenv.errors import PageError
from simenv.films import films_world
from simenv.loop import PageLoop
from simenv.pages import EMPTY, Grade, Page, Reaction

ITEMS, USERS, SIZE, PAGES = 30, 4, 4, 3


class Placid:
    """Users who pass over everything and stay; those in `leavers` leave at once. Keeps all pages it saw."""

    def __init__(self, leavers: tuple[int, ...] = ()) -> None:
        self.leavers = leavers
        self.pages: list[Page] = []

    def fit(self, dataset: Dataset) -> None:
        """Learn nothing."""

    def enter(self, users: IntArray, luck: BitArray) -> "Placid":  # noqa: ARG002
        return self

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Keep nothing."""

    def react(self, page: Page) -> Reaction:
        self.pages.append(page)
        count = len(page.users)
        grades = np.where(page.items == EMPTY, Grade.UNSEEN, 1 + page.items % 4).astype(np.int8)
        exits = np.isin(page.users, self.leavers)
        ratings = np.full(page.items.shape, np.nan, np.float32)
        causes = np.where(exits, "bored", "").astype(object)
        return Reaction(grades, ratings, np.full(count, 5.5), exits, causes)


def dataset() -> Dataset:
    return films_world(users=USERS, items=ITEMS).dataset


def a_loop(population: Placid | None = None, users: int = USERS, **options: bool) -> PageLoop:
    loop = PageLoop(dataset(), population or Placid(), page_size=SIZE, max_pages=PAGES, **options)
    loop.enter(np.arange(users), 0)
    return loop


def page_of(*places: int) -> IntArray:
    return np.array([places])


def test_an_item_that_stands_twice_keeps_its_best_place():
    turn = a_loop(users=1).turn(page_of(7, 3, 7, 3))

    assert turn.page.items.tolist() == [[7, 3, EMPTY, EMPTY]]
    assert turn.repeated.tolist() == [[False, False, True, True]]


def test_an_item_shown_before_leaves_its_place_empty():
    loop = a_loop(users=1)
    loop.turn(page_of(7, 3, 1, 2))

    turn = loop.turn(page_of(9, 7, 8, 3))

    assert turn.page.items.tolist() == [[9, EMPTY, 8, EMPTY]]
    assert turn.repeated.tolist() == [[False, True, False, True]]


def test_an_item_may_come_again_where_that_is_allowed():
    loop = a_loop(users=1, leave_out_shown=False)
    loop.turn(page_of(7, 3, 1, 2))

    turn = loop.turn(page_of(7, 7, 3, 8))

    assert turn.page.items.tolist() == [[7, EMPTY, 3, 8]]
    assert turn.repeated.tolist() == [[False, True, False, False]]


def test_what_others_were_shown_is_new_to_me():
    loop = a_loop(users=2)

    turn = loop.turn(np.array([[1, 2, 3, 4], [1, 2, 3, 4]]))

    assert not turn.repeated.any()


def test_empty_places_may_stand_anywhere_and_are_no_repeats():
    loop = a_loop(users=1)
    loop.turn(page_of(EMPTY, 5, EMPTY, EMPTY))

    turn = loop.turn(page_of(EMPTY, EMPTY, 6, EMPTY))

    assert turn.page.items.tolist() == [[EMPTY, EMPTY, 6, EMPTY]]
    assert not turn.repeated.any()


@pytest.mark.parametrize("wrong", [-2, ITEMS, 10**6])
def test_an_item_outside_the_catalogue_is_named(wrong: int):
    with pytest.raises(PageError, match=rf"no item {wrong}: items run from 0 to {ITEMS - 1}"):
        a_loop(users=1).turn(page_of(1, wrong, 3, 4))


@pytest.mark.parametrize("page", [[[1, 2, 3]], [[1, 2, 3, 4], [1, 2, 3, 4]], [1, 2, 3, 4], [[1.0, 2.0, 3.0, 4.0]]])
def test_a_page_of_another_shape_or_type_says_what_is_wanted(page: list):
    with pytest.raises(PageError, match=r"wanted whole numbers of shape \(1, 4\)"):
        a_loop(users=1).turn(np.array(page))


def test_a_refused_page_leaves_no_trace():
    loop = a_loop(users=1)
    with pytest.raises(PageError):
        loop.turn(page_of(1, 2, 3, 99))

    assert not loop.turn(page_of(1, 2, 3, 4)).repeated.any()
    assert loop.context().shown.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("sizes", [{"page_size": 0}, {"max_pages": 0}, {"max_pages": 10_001}])
def test_impossible_sizes_are_refused(sizes: dict[str, int]):
    with pytest.raises(PageError, match=next(iter(sizes))):
        PageLoop(dataset(), Placid(), **{"page_size": 3, "max_pages": 3} | sizes)


def test_nobody_can_be_shown_a_page_before_they_enter():
    with pytest.raises(PageError, match="nobody has entered"):
        PageLoop(dataset(), Placid(), page_size=3, max_pages=3).sessions  # noqa: B018


def test_only_the_page_limit_truncates():
    loop = a_loop(Placid(leavers=(1,)), users=2)

    turns = [loop.turn(np.arange(8).reshape(2, 4) + 8 * number) for number in range(PAGES)]

    assert [turn.truncated.tolist() for turn in turns] == [[False, False], [False, False], [True, False]]
    assert [turn.reaction.exits.tolist() for turn in turns] == [[False, True]] * PAGES


def test_the_policys_page_is_not_changed():
    page = page_of(7, 7, 7, 7)
    a_loop(users=1).turn(page)
    assert page.tolist() == [[7, 7, 7, 7]]


def test_whoever_takes_a_seat_begins_anew():
    population = Placid()
    loop = a_loop(population, users=2)
    loop.turn(np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))

    loop.reseat(np.array([1]), np.array([3]), 9)
    turn = loop.turn(np.array([[9, 10, 11, 12], [5, 6, 7, 8]]))

    assert not turn.repeated.any()
    assert turn.page.users.tolist() == [0, 3]
    assert turn.page.number.tolist() == [1, 0]
    assert loop.context().shown[1].tolist() == [5, 6, 7, 8, *[EMPTY] * 4]


@st.composite
def visits(draw: Callable) -> list[tuple[list[int], list[list[int]]]]:
    """Draw, page after page, who is shown something and what; whoever is left out has left."""
    here = list(range(USERS))
    pages = []
    for _ in range(draw(st.integers(1, PAGES))):
        place = st.lists(st.integers(EMPTY, 9), min_size=SIZE, max_size=SIZE)
        pages.append((here, draw(st.lists(place, min_size=len(here), max_size=len(here)))))
        here = sorted(draw(st.sets(st.sampled_from(here), min_size=1)))
    return pages


@given(visits(), st.booleans())
def test_each_item_is_shown_once_and_the_context_tells_exactly_what_was_shown(pages: list, once: bool):
    loop = a_loop(leave_out_shown=once)
    shown: list[list[int]] = [[] for _ in range(USERS)]
    for here, wanted in pages:
        turn = loop.turn(np.array(wanted), np.array(here))
        for row, user in enumerate(here):
            met = set(shown[user]) - {EMPTY} if once else set()
            for rank, item in enumerate(wanted[row]):
                again = item != EMPTY and item in met
                assert turn.repeated[row, rank] == again
                assert turn.page.items[row, rank] == (EMPTY if again else item)
                met.add(item)
            shown[user] += turn.page.items[row].tolist()
        context = loop.context(np.array(here))
        width = context.shown.shape[1]
        assert context.shown.tolist() == [(shown[user] + [EMPTY] * width)[:width] for user in here]
        assert np.array_equal(context.grades, np.where(context.shown == EMPTY, 0, 1 + context.shown % 4))
        assert context.number.tolist() == [len(shown[user]) // SIZE for user in here]


def test_a_context_stays_as_it_was_when_the_session_goes_on():
    loop = a_loop(users=1)
    loop.turn(page_of(1, 2, 3, 4))
    before = loop.context()
    kept = replace(before, shown=before.shown.copy(), grades=before.grades.copy(), number=before.number.copy())

    loop.turn(page_of(5, 6, 7, 8))

    assert before.shown.tolist() == kept.shown.tolist()
    assert before.number.tolist() == kept.number.tolist()
