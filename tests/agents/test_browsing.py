"""Browsing users look from the top down, are bored by sameness, and take good pages better than bad ones."""

from dataclasses import replace

import numpy as np
import pytest

from simenv.agents.truth import TruthPopulation
from simenv.arrays import FloatArray, IntArray
from simenv.errors import SimenvError
from simenv.films import World, films_world
from simenv.loop import luck_of
from simenv.pages import Grade, Page, Reaction

SEEDS = 40


@pytest.fixture(scope="module")
def big() -> World:
    return films_world(users=200, items=300)


@pytest.fixture(scope="module")
def users_of(big: World) -> TruthPopulation:
    population = TruthPopulation(big.truth)
    population.fit(big.dataset)
    return population


def first_page(population: TruthPopulation, items: IntArray, seed: int) -> Reaction:
    """Return what everybody does with the same first page."""
    users = np.arange(len(population.truth.tastes), dtype=np.int32)
    page = Page(users, np.arange(len(users)), np.zeros(len(users), np.int32), np.tile(items, (len(users), 1)))
    return population.enter(users, luck_of(seed, users)).react(page)


def views(population: TruthPopulation, items: IntArray) -> FloatArray:
    """Return how often each place is viewed, rated or liked."""
    reactions = [first_page(population, items, seed) for seed in range(SEEDS)]
    looked = [(one.grades >= Grade.VIEWED) | ~np.isnan(one.ratings) for one in reactions]
    return np.mean(looked, axis=(0, 1))


def test_the_same_item_is_viewed_less_the_lower_it_stands(users_of: TruthPopulation):
    filler = np.arange(10, 19)
    shares = [views(users_of, np.insert(filler, place, 3))[place] for place in (0, 4, 9)]

    assert shares[0] > 1.2 * shares[1] > 1.2 * 1.2 * shares[2]


def test_what_is_lower_is_oftener_unseen(users_of: TruthPopulation):
    unseen = np.mean(
        [first_page(users_of, np.arange(10), seed).grades == Grade.UNSEEN for seed in range(SEEDS)],
        axis=(0, 1),
    )
    assert (np.diff(unseen) > -0.01).all()
    assert unseen[0] < 0.05
    assert unseen[9] == pytest.approx(1 - 0.92**9, abs=0.05)


def test_an_unseen_item_is_never_disliked(users_of: TruthPopulation):
    reaction = first_page(users_of, np.arange(10), 0)
    assert np.isnan(reaction.ratings[reaction.grades == Grade.UNSEEN]).all()


def session(population: TruthPopulation, pages: list[IntArray], seed: int) -> list[Reaction]:
    """Return reactions to page after page [U, K], whoever has left or not."""
    users = np.arange(len(population.truth.tastes), dtype=np.int32)
    sessions = population.enter(users, luck_of(seed, users))
    seats = np.arange(len(users))
    return [
        sessions.react(Page(users, seats, np.full(len(users), number, np.int32), items))
        for number, items in enumerate(pages)
    ]


def test_pages_all_alike_are_viewed_less_and_bore(big: World, users_of: TruthPopulation):
    """The last page is the same; what came before was all of its kind, or of many kinds."""
    matrix = big.dataset.catalog.category_matrix.astype(float)
    kind = int(matrix.sum(axis=0).argmax())
    alike = np.flatnonzero((matrix[:, kind] == 1) & (matrix.sum(axis=1) <= 2))[:20]
    other = np.flatnonzero(matrix[:, kind] == 0)
    mixed = other[np.linspace(0, len(other) - 1, 15).astype(int)]
    everybody = np.ones((200, 1), dtype=np.int64)
    last = alike[15:20] * everybody
    bored, fresh, bored_exits, fresh_exits = 0, 0, 0, 0
    for seed in range(SEEDS):
        before = [slice(begin, begin + 5) for begin in (0, 5, 10)]
        same = session(users_of, [*(alike[five] * everybody for five in before), last], seed)
        varied = session(users_of, [*(mixed[five] * everybody for five in before), last], seed)
        bored += int((same[-1].grades >= Grade.VIEWED).sum())
        fresh += int((varied[-1].grades >= Grade.VIEWED).sum())
        bored_exits += int(same[-1].exits.sum())
        fresh_exits += int(varied[-1].exits.sum())

    assert bored < 0.95 * fresh
    assert bored_exits > fresh_exits


def test_nobody_is_bored_by_a_first_page(users_of: TruthPopulation):
    causes = {cause for seed in range(SEEDS) for cause in first_page(users_of, np.arange(10), seed).causes}
    assert causes == {"", "called away", "disappointed"}


def test_the_more_junk_the_less_satisfaction(big: World, users_of: TruthPopulation):
    """Pages of ten, of which this many come from the bottom of what their user likes."""
    order = np.argsort(-big.truth.likes(np.arange(200)), axis=1)
    means = []
    for junk in (0, 2, 4, 6, 8, 10):
        items = np.hstack([order[:, : 10 - junk], order[:, len(order[0]) - junk :]])
        items = np.stack([np.random.default_rng(user).permutation(row) for user, row in enumerate(items)])
        means.append(np.mean([session(users_of, [items], seed)[0].satisfaction.mean() for seed in range(5)]))

    assert (np.diff(means) < -0.1).all(), means


def test_better_pages_keep_users_longer(big: World, users_of: TruthPopulation):
    order = np.argsort(-big.truth.likes(np.arange(200)), axis=1)
    exits = {
        name: np.mean([session(users_of, pages, seed)[-1].exits.mean() for seed in range(10)])
        for name, pages in (("best", [order[:, :10]]), ("worst", [order[:, -10:]]))
    }
    assert exits["best"] < exits["worst"]


def test_the_longer_the_session_the_more_leave(users_of: TruthPopulation):
    pages = [np.arange(begin, begin + 5) * np.ones((200, 1), dtype=np.int64) for begin in range(0, 60, 5)]
    exits = np.mean([[one.exits.mean() for one in session(users_of, pages, seed)] for seed in range(10)], axis=0)
    assert exits[-3:].mean() > 2 * exits[:3].mean()


def test_habits_can_be_set(big: World):
    blind = TruthPopulation(big.truth, look=1e-6)
    blind.fit(big.dataset)
    assert (first_page(blind, np.arange(10), 0).grades[:, 1:] == Grade.UNSEEN).all()


def test_an_unknown_habit_is_refused(big: World):
    with pytest.raises(SimenvError, match="no habit"):
        TruthPopulation(big.truth, colour=1.0)


def test_nobody_enters_before_fit(big: World):
    with pytest.raises(SimenvError, match="fit"):
        TruthPopulation(big.truth).enter(np.arange(2), luck_of(0, np.arange(2)))


def test_whoever_likes_everything_still_passes_and_whoever_likes_nothing_still_views(big: World):
    """A thousandfold draw is no certainty, for a user does not look at everything."""
    eager = TruthPopulation(replace(big.truth, draw=1000.0))
    eager.fit(big.dataset)
    grades = first_page(eager, np.arange(10), 0).grades
    assert (grades == Grade.UNSEEN).any()
    assert (grades != Grade.PASSED).all()
