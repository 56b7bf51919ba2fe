"""The contract's checks find the policies and populations that break it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from simenv.agents.truth import TruthPopulation
from simenv.arrays import BitArray, IntArray
from simenv.checks import Checks, PolicyChecks, PopulationChecks
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.films import films_world
from simenv.pages import Page, Reaction
from simenv.recommenders.pop import Pop
from simenv.store import Arrays


def failures(checks: Checks) -> set[str]:
    """Return the names of the checks that do not pass."""
    failed = set()
    for name in dir(checks):
        if name.startswith("test_"):
            try:
                getattr(checks, name)()
            except AssertionError:
                failed.add(name)
    return failed


class Forgetful(Pop):
    """Leaves out nothing of this session."""

    def recommend(self, context: Context, k: int) -> IntArray:
        return super().recommend(replace(context, leave_out_shown=False), k)


class Nostalgic(Pop):
    """Shows the past again."""

    def recommend(self, context: Context, k: int) -> IntArray:
        return super().recommend(replace(context, leave_out_past=False), k)


class Comparing(Pop):
    """Shows a user what suits the users beside him."""

    def recommend(self, context: Context, k: int) -> IntArray:
        scores = np.tile(self.popularity, (len(context), 1))
        scores[:, context.users[0]] += 1e6
        return context.top(scores, k)


class Insistent(Pop):
    """Fills a page with one item."""

    def recommend(self, context: Context, k: int) -> IntArray:
        return np.repeat(super().recommend(context, 1), k, axis=1)


class Meddling(Pop):
    """Changes the data that it learns from."""

    def fit(self, dataset: Dataset) -> None:
        dataset.interactions.ratings[0] += 1
        super().fit(dataset)
        dataset.interactions.ratings[0] += 1


class Moody(Pop):
    """Answers otherwise when asked again."""

    asked = 0

    def recommend(self, context: Context, k: int) -> IntArray:
        self.asked += 1
        return np.roll(super().recommend(context, k), self.asked, axis=1)


class Lossy(Pop):
    """Forgets what it learnt when it is kept."""

    def restore(self, arrays: Arrays) -> None:
        super().restore(arrays)
        self.popularity = np.zeros_like(self.popularity)


BROKEN = {
    Lossy: "test_saved_and_loaded_it_shows_the_same",
    Forgetful: "test_nothing_is_shown_again_in_a_session",
    Nostalgic: "test_nothing_of_the_past_is_shown",
    Comparing: "test_a_user_gets_the_same_page_in_a_batch_of_any_size_and_order",
    Insistent: "test_no_item_stands_twice",
    Moody: "test_the_same_question_gets_the_same_page",
}


@pytest.mark.parametrize("policy", BROKEN)
def test_a_policy_that_breaks_the_contract_is_found(policy: type):
    checks = PolicyChecks()
    checks.make = policy

    assert BROKEN[policy] in failures(checks)


def test_a_policy_that_keeps_to_it_passes():
    checks = PolicyChecks()
    checks.make = Pop

    assert not failures(checks)


def test_a_policy_that_changes_the_data_is_found():
    world = films_world(users=59, items=120)  # its own, for it comes to harm
    checks = PolicyChecks()
    checks.make, checks.world = Meddling, lambda: world

    assert "test_fit_leaves_the_data_as_they_were" in failures(checks)


class Spoilt:
    """True users, but for what `spoil` does to their reactions."""

    def __init__(self, spoil: Callable[[Page, Reaction], Reaction]) -> None:
        self.truth = TruthPopulation(films_world(users=60, items=120).truth)
        self.spoil = spoil

    def fit(self, dataset: Dataset) -> None:
        self.truth.fit(dataset)

    def enter(self, users: IntArray, luck: BitArray) -> "SpoiltSessions":
        return SpoiltSessions(self.truth.enter(users, luck), self.spoil)


class SpoiltSessions:
    def __init__(self, sessions, spoil) -> None:
        self.sessions, self.spoil = sessions, spoil

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        self.sessions.reseat(seats, users, luck)

    def react(self, page: Page) -> Reaction:
        return self.spoil(page, self.sessions.react(page))


SPOILS = {
    "test_satisfaction_is_from_1_to_10": lambda _, one: replace(one, satisfaction=one.satisfaction * 2),
    "test_an_empty_place_is_unseen": lambda _, one: replace(one, grades=np.maximum(one.grades, 1)),
    "test_every_grade_is_one": lambda _, one: replace(one, grades=one.grades + np.int8(1)),
    "test_only_what_was_watched_is_rated": lambda _, one: replace(one, ratings=np.ones_like(one.ratings)),
    "test_whoever_leaves_has_a_cause_and_nobody_else": lambda _, one: replace(one, exits=~one.exits),
    "test_a_reaction_has_the_pages_shape": lambda _, one: replace(one, grades=one.grades[:, 1:]),
    "test_a_reaction_has_the_contracts_types": lambda _, one: replace(one, grades=one.grades.astype(int)),
    "test_a_user_does_the_same_in_a_batch_of_any_size": lambda page, one: replace(
        one, satisfaction=np.full(len(page.users), 1 + 9 / (1 + len(page.users)))
    ),
    "test_a_user_does_the_same_in_any_order": lambda page, one: replace(one, satisfaction=1 + page.seats / 60),
}


@pytest.mark.parametrize("claim", SPOILS)
def test_a_population_that_breaks_the_contract_is_found(claim: str):
    checks = PopulationChecks()
    checks.make = lambda: Spoilt(SPOILS[claim])

    with pytest.raises(AssertionError):
        getattr(checks, claim)()


def test_a_population_without_luck_of_its_own_must_say_so():
    checks = PopulationChecks()
    checks.make = lambda: TruthPopulation(checks.world().truth)
    checks.by_luck = False

    assert failures(checks) == {"test_other_luck_other_reactions"}
