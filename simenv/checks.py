"""What every policy and every population must keep to: checks that a plug-in's own tests inherit.

    class TestPopular(PolicyChecks):
        make = Popular

`make` is a class, or a method that returns a new one, not yet fitted. pytest runs what begins with `test_`.
The checks need nothing but simenv; a failed one is an AssertionError.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from .arrays import IntArray
from .chance import key, mix, uniform
from .context import Context
from .dataset import Dataset
from .films import World, films_world
from .loop import luck_of
from .pages import EMPTY, Grade, Page, Reaction, watched
from .policy import Chancy, Policy
from .population import Population, Sessions
from .splits import Split, leave_one_out
from .store import Savable, load_policy, save_policy

K = 5  # places on a page
STRANGER = 0  # the user without a history
Seen = dict[tuple[int, int], tuple[object, ...]]  # by user and page: all that the user did


class Checks:
    """The small world that both kinds of checks are set in; override `world` or `split` for another."""

    make: Callable[..., Any]

    def world(self) -> World:
        """Return a made world with its truth."""
        return films_world(users=60, items=120)

    def split(self) -> Split:
        """Return its rows, each user's last two held out; one user has no history at all."""
        split = leave_one_out(self.world().dataset)
        log = split.train.interactions
        return replace(split, train=split.train.only(log[log.users != STRANGER]))

    def users(self) -> IntArray:
        """Return everybody."""
        return np.arange(len(self.world().dataset.users), dtype=np.int32)

    def fit_and_compare(self, made: Policy | Population) -> None:
        """Fit to a data set and hold it against what it was before."""
        train = self.split().train
        before = replace(train).fingerprint
        made.fit(train)
        assert replace(train).fingerprint == before, "fit changed the data set that it was given"


class PolicyChecks(Checks):
    """What every policy must keep to."""

    def policy(self) -> Policy:
        """Return a new policy, fitted to the training rows."""
        made: Policy = self.make()
        made.fit(self.split().train)
        return made

    def contexts(self) -> Iterator[Context]:
        """Yield all users before their first page, and before their third."""
        for pages in (0, 2):
            shown = _orders(self.split().train, self.users())[:, : pages * K].copy()
            shown[1::7, 2:4] = EMPTY  # some pages had gaps
            yield _context(self.split().train, self.users(), shown, pages)

    def test_a_page_has_k_whole_numbers_for_each_user(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            page = np.asarray(policy.recommend(context, K))
            assert page.shape == (len(context), K)
            assert page.dtype.kind in "iu"

    def test_every_place_is_taken_while_items_are_left(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            page = np.asarray(policy.recommend(context, K))
            assert page.min() >= 0
            assert page.max() < len(context.train.catalog)

    def test_no_item_stands_twice(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            ordered = np.sort(policy.recommend(context, K), axis=1)
            assert (ordered[:, 1:] != ordered[:, :-1]).all()

    def test_nothing_of_the_past_is_shown(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            for page, past in zip(policy.recommend(context, K), _pasts(context), strict=True):
                assert not set(page.tolist()) & past

    def test_nothing_is_shown_again_in_a_session(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            page = np.asarray(policy.recommend(context, K))
            assert not (page[:, :, None] == context.shown[:, None, :]).any()

    def test_a_user_gets_the_same_page_in_a_batch_of_any_size_and_order(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            together = np.asarray(policy.recommend(context, K))
            backwards = np.arange(len(context))[::-1]
            assert np.array_equal(policy.recommend(_some(context, backwards), K), together[backwards])
            for size in (1, 7):
                for begin in range(0, len(context), size):
                    few = np.arange(len(context))[begin : begin + size]
                    assert np.array_equal(policy.recommend(_some(context, few), K), together[few])

    def test_places_stay_empty_at_the_end_when_nothing_is_left(self) -> None:
        policy = self.policy()
        train = self.split().train
        orders = _orders(train, self.users())
        for left in (0, 3):
            shown = np.full_like(orders, EMPTY)
            counts = (orders != EMPTY).sum(axis=1)
            for row, count in enumerate(counts):
                shown[row, : count - left] = orders[row, : count - left]
            context = _context(train, self.users(), shown, 20)
            page = np.asarray(policy.recommend(context, K))
            assert (page[:, left:] == EMPTY).all()
            for row, count in enumerate(counts):
                assert sorted(page[row, :left]) == sorted(orders[row, count - left : count])

    def test_a_page_may_be_longer_than_the_catalogue(self) -> None:
        policy = self.policy()
        context = next(self.contexts())
        count = len(context.train.catalog)
        page = np.asarray(policy.recommend(context, count + 3))
        assert page.shape == (len(context), count + 3)
        for row, past in zip(page, _pasts(context), strict=True):
            assert sorted(row[: count - len(past)]) == sorted(set(range(count)) - past)
            assert (row[count - len(past) :] == EMPTY).all()

    def test_a_user_without_a_history_gets_a_full_page(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            page = np.asarray(policy.recommend(_some(context, np.array([STRANGER])), K))
            assert len(set(page[0].tolist()) - {EMPTY}) == K

    def test_the_same_question_gets_the_same_page(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            first = np.asarray(policy.recommend(context, K))
            kept = first.copy()
            assert np.array_equal(policy.recommend(context, K), kept)
            assert np.array_equal(first, kept), "a page changed after it was handed out"

    def test_fitted_twice_it_shows_the_same(self) -> None:
        one, other = self.policy(), self.policy()
        for context in self.contexts():
            assert np.array_equal(one.recommend(context, K), other.recommend(context, K))

    def test_saved_and_loaded_it_shows_the_same(self) -> None:
        policy = self.policy()
        if not isinstance(policy, Savable):
            return
        with TemporaryDirectory() as folder:
            save_policy(policy, Path(folder) / "kept")
            again = load_policy(Path(folder) / "kept")
        for context in self.contexts():
            assert np.array_equal(again.recommend(context, K), policy.recommend(context, K))

    def test_fit_leaves_the_data_as_they_were(self) -> None:
        self.fit_and_compare(self.make())

    def test_the_context_stays_as_it_was(self) -> None:
        policy = self.policy()
        for context in self.contexts():
            before = _some(context, np.arange(len(context)))  # a copy
            policy.recommend(context, K)
            for name in ("users", "number", "shown", "grades", "luck"):
                assert np.array_equal(getattr(context, name), getattr(before, name)), f"{name} changed"

    def test_propensities_are_chances(self) -> None:
        policy = self.policy()
        if not isinstance(policy, Chancy):
            return
        for context in self.contexts():
            page = policy.recommend(context, K)
            chances = np.asarray(policy.propensities(context, page))
            assert chances.shape == page.shape
            assert ((chances > 0) & (chances <= 1)).all()


class PopulationChecks(Checks):
    """What every population must keep to; `by_luck = False` where its answers need no luck."""

    by_luck: ClassVar[bool] = True
    pages = 4  # that a session lasts, for those who stay

    def population(self) -> Population:
        """Return a new population, fitted to the training rows."""
        made: Population = self.make()
        made.fit(self.split().train)
        return made

    def enter(self, population: Population, users: IntArray, seed: int = 0) -> Sessions:
        """Seat users with the luck of a seed."""
        return population.enter(users, luck_of(seed, users))

    def page(self, users: IntArray, seats: IntArray, number: int) -> Page:
        """Return a page of items new to the session, some places empty."""
        items = _orders(self.split().train, users)[:, number * K : (number + 1) * K].copy()
        items[users % 3 == number % 3, -1] = EMPTY
        return Page(users, seats, np.full(len(users), number, dtype=np.int32), items)

    def watch(self, sessions: Sessions, users: IntArray) -> Iterator[tuple[Page, Reaction]]:
        """Yield each page of these sessions and the reaction to it, until all have left."""
        here = np.arange(len(users))
        for number in range(self.pages):
            page = self.page(users[here], here, number)
            reaction = sessions.react(page)
            yield page, reaction
            here = here[~reaction.exits]
            if not len(here):
                return

    def seen(self, population: Population, batches: Sequence[IntArray], seed: int = 0) -> Seen:
        """Return all that these users did, each batch entering together."""
        done: Seen = {}
        for users in batches:
            for page, reaction in self.watch(self.enter(population, users, seed), users):
                done |= _did(page, reaction)
        return done

    def all_turns(self) -> Iterator[tuple[Page, Reaction]]:
        """Yield what everybody does."""
        yield from self.watch(self.enter(self.population(), self.users()), self.users())

    def test_a_reaction_has_the_pages_shape(self) -> None:
        for page, reaction in self.all_turns():
            assert reaction.grades.shape == reaction.ratings.shape == page.items.shape
            count = (len(page.users),)
            assert reaction.satisfaction.shape == reaction.exits.shape == reaction.causes.shape == count
            assert reaction.known is None or reaction.known.shape == page.items.shape
            assert reaction.words is None or len(reaction.words) == len(page.users)

    def test_a_reaction_has_the_contracts_types(self) -> None:
        for _, reaction in self.all_turns():
            assert reaction.grades.dtype == np.int8
            assert reaction.ratings.dtype.kind == reaction.satisfaction.dtype.kind == "f"
            assert reaction.exits.dtype == bool
            assert all(isinstance(cause, str) for cause in reaction.causes)

    def test_every_grade_is_one(self) -> None:
        for _, reaction in self.all_turns():
            assert np.isin(reaction.grades, list(Grade)).all()

    def test_an_empty_place_is_unseen(self) -> None:
        for page, reaction in self.all_turns():
            empty = page.items == EMPTY
            assert empty.any()
            assert (reaction.grades[empty] == Grade.UNSEEN).all()
            assert np.isnan(reaction.ratings[empty]).all()

    def test_a_page_without_items_is_borne(self) -> None:
        users = self.users()
        page = self.page(users, np.arange(len(users)), 0)
        reaction = self.enter(self.population(), users).react(replace(page, items=np.full_like(page.items, EMPTY)))
        assert (reaction.grades == Grade.UNSEEN).all()
        assert np.isfinite(reaction.satisfaction).all()

    def test_satisfaction_is_from_1_to_10(self) -> None:
        for _, reaction in self.all_turns():
            assert ((reaction.satisfaction >= 1) & (reaction.satisfaction <= 10)).all()

    def test_only_what_was_watched_is_rated(self) -> None:
        for _, reaction in self.all_turns():
            rated = ~np.isnan(reaction.ratings)
            assert watched(reaction.grades, reaction.ratings)[rated].all()

    def test_whoever_leaves_has_a_cause_and_nobody_else(self) -> None:
        for _, reaction in self.all_turns():
            assert np.array_equal(reaction.exits, reaction.causes != "")

    def test_a_user_does_the_same_in_a_batch_of_any_size(self) -> None:
        population, users = self.population(), self.users()
        together = self.seen(population, [users])
        for size in (1, 7):
            assert self.seen(population, np.split(users, range(size, len(users), size))) == together

    def test_a_user_does_the_same_in_any_order(self) -> None:
        population, users = self.population(), self.users()
        assert self.seen(population, [users[::-1]]) == self.seen(population, [users])

    def test_who_takes_anothers_seat_does_as_if_he_entered(self) -> None:
        population, users = self.population(), self.users()
        sessions = self.enter(population, users)
        for _ in self.watch(sessions, users):
            pass
        seats, comers = np.array([2, 0, 5]), users[[7, 2, 11]]
        sessions.reseat(seats, comers, luck_of(9, comers))
        fresh = self.enter(population, comers, seed=9)
        for number in range(self.pages):
            there = sessions.react(self.page(comers, seats, number))
            page = self.page(comers, np.arange(len(comers)), number)
            assert _did(page, there) == _did(page, fresh.react(page))

    def test_sessions_do_not_disturb_each_other(self) -> None:
        population, users = self.population(), self.users()
        alone = self.seen(population, [users])
        one, other = self.enter(population, users), self.enter(population, users[::-1], seed=1)
        done: Seen = {}
        for (page, reaction), _ in zip(self.watch(one, users), self.watch(other, users[::-1]), strict=False):
            done |= _did(page, reaction)
        assert done == {place: deeds for place, deeds in alone.items() if place in done}

    def test_other_luck_other_reactions(self) -> None:
        population, users = self.population(), self.users()
        same = self.seen(population, [users]) == self.seen(population, [users], seed=1)
        assert same is not self.by_luck

    def test_fitted_twice_they_do_the_same(self) -> None:
        users = self.users()
        assert self.seen(self.population(), [users]) == self.seen(self.population(), [users])

    def test_fit_leaves_the_data_as_they_were(self) -> None:
        self.fit_and_compare(self.make())

    def test_the_page_stays_as_it_was(self) -> None:
        users = self.users()
        page = self.page(users, np.arange(len(users)), 0)
        before = page.items.copy()
        self.enter(self.population(), users).react(page)
        assert np.array_equal(page.items, before)


def _orders(train: Dataset, users: IntArray) -> IntArray:
    """Return each user's unmet items in an order of their own, EMPTY where there are no more: [B, I]."""
    bits = mix(mix(key(0, "checks"), users)[:, None], np.arange(len(train.catalog)))
    place = uniform(bits)
    rows, met = train.rows_of(users)
    place[rows, train.interactions.items[met]] = 2
    order = np.argsort(place, axis=1, kind="stable")
    return np.where(np.take_along_axis(place, order, axis=1) < 2, order, EMPTY).astype(np.int32)


def _context(train: Dataset, users: IntArray, shown: IntArray, pages: int) -> Context:
    """Return a context in which every shown item has a grade of its own."""
    drawn = uniform(mix(mix(key(0, "grade"), users)[:, None], shown))
    grades = (drawn * len(Grade)).astype(np.int8)
    grades[shown == EMPTY] = Grade.UNSEEN
    return Context(train, users, np.full(len(users), pages, dtype=np.int32), shown, grades, luck_of(0, users))


def _some(context: Context, rows: IntArray) -> Context:
    return replace(
        context,
        users=context.users[rows],
        number=context.number[rows],
        shown=context.shown[rows],
        grades=context.grades[rows],
        luck=context.luck[rows],
    )


def _pasts(context: Context) -> list[set[int]]:
    """Return each user's training items."""
    log, starts = context.train.interactions, context.train.starts
    return [set(log.items[starts[user] : starts[user + 1]].tolist()) for user in context.users]


def _did(page: Page, reaction: Reaction) -> Seen:
    """Return each user's part of a reaction, to the last digit."""
    known = reaction.known if reaction.known is not None else np.ones(page.items.shape, dtype=bool)
    words = reaction.words if reaction.words is not None else [""] * len(page.users)
    return {
        (int(user), int(page.number[row])): (
            reaction.grades[row].tolist(),
            np.nan_to_num(reaction.ratings[row], nan=-1).tolist(),
            float(reaction.satisfaction[row]),
            bool(reaction.exits[row]),
            reaction.causes[row],
            known[row].tolist(),
            words[row],
        )
        for row, user in enumerate(page.users.tolist())
    }
