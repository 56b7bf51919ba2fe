"""Users by three votes heed their own history, and neither like nor dislike everything."""

from dataclasses import replace

import numpy as np
import pytest

from simenv.agents.voters import Rule, VotersPopulation
from simenv.arrays import GradeArray, IntArray
from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.errors import SimenvError
from simenv.films import World, films_world
from simenv.interactions import Interactions
from simenv.loop import luck_of
from simenv.pages import Grade, Page


@pytest.fixture(scope="module")
def big() -> World:
    return films_world(users=150, items=150)


def fitted(dataset: Dataset) -> VotersPopulation:
    population = VotersPopulation()
    population.fit(dataset)
    return population


def grades(population: VotersPopulation, users: IntArray, luck_users: IntArray, seed: int = 0) -> GradeArray:
    """Return what these users make of a page, with the luck of others."""
    seats = np.arange(len(users))
    items = np.tile(np.arange(10 * seed, 10 * seed + 10), (len(users), 1))
    page = Page(users, seats, np.zeros(len(users), np.int32), items)
    return population.enter(users, luck_of(seed, luck_users)).react(page).grades


def test_another_user_in_the_seat_does_otherwise(big: World):
    """The same page and the same luck: only the user differs."""
    population, users = fitted(big.dataset), np.arange(150)
    mine, theirs = grades(population, users, users), grades(population, np.roll(users, 1), users)
    assert (mine != theirs).mean() > 0.1


@pytest.mark.parametrize("rating", [5.0, 1.0])
def test_users_of_one_opinion_still_do_both(big: World, rating: float):
    """A history of nothing but likes does not make everything liked, nor one of dislikes nothing."""
    log = big.dataset.interactions
    ratings = np.where(log.users % 2 == 0, np.float32(rating), log.ratings)
    population = fitted(big.dataset.only(replace(log, ratings=ratings)))
    even = np.arange(0, 150, 2)

    found = np.concatenate([grades(population, even, even, seed) for seed in range(15)], axis=1)
    wanted = population.judge(
        np.repeat(even, 150), np.tile(np.arange(150), len(even)), np.arange(150 * 75).astype("u8")
    )
    chosen = wanted.chosen.reshape(len(even), 150).mean(axis=1)

    assert (((found >= Grade.VIEWED) | (found == Grade.DISLIKED)).mean(axis=1) > 0).mean() > 0.95
    assert ((found == Grade.PASSED).mean(axis=1) > 0).all()
    assert ((chosen > 0.02) & (chosen < 0.98)).all()


@pytest.mark.parametrize("rule", ["majority", "weights"])
def test_fame_makes_no_item_unwelcome(rule: Rule):
    """What everybody met is wanted no less on a page than what was drawn blindly."""
    dataset = films_world(users=200, items=400).dataset
    population = VotersPopulation(rule=rule)
    population.fit(dataset)
    users = np.arange(200)
    famous = np.tile(np.argsort(-dataset.popularity)[:10], (200, 1))
    drawn = np.random.default_rng(0).permuted(np.tile(np.arange(400), (200, 1)), axis=1)[:, :10]

    taken = [
        (population.enter(users, luck_of(0, users)).react(Page(users, users, np.zeros(200, np.int32), items)).grades
         >= Grade.VIEWED).mean()
        for items in (famous, drawn)
    ]  # fmt: skip

    assert taken[0] > 0.95 * taken[1]


def test_a_user_wants_what_bears_his_keywords():
    """Half of the users chose sea films, half desert films; nobody else's choice tells which is which for the last."""
    kinds = ("sea", "desert")
    count = 40
    titles = np.array([f"{kinds[item % 2]} story {item}" for item in range(count)], dtype=object)
    words = np.array([f"a tale of {'waves' if item % 2 == 0 else 'dunes'}" for item in range(count)], dtype=object)
    catalog = Catalog(np.arange(count), titles, tuple((kinds[item % 2],) for item in range(count)), words,
                      np.full(count, np.nan, dtype=np.float32))  # fmt: skip
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(60), 8)
    items = np.concatenate([rng.choice(np.arange(user % 2, count - 4, 2), size=8, replace=False) for user in range(60)])
    log, _ = Interactions.sort(users, items, np.full(len(users), 5, np.float32), np.arange(len(users)))
    population = fitted(Dataset("kinds", catalog, Users(np.arange(60)), log))

    everyone = np.arange(60)
    fresh = [population.judge(everyone, np.full(60, item), everyone.astype("u8")).wanted for item in (36, 37)]

    assert ((fresh[0] > fresh[1]) == (everyone % 2 == 0)).mean() > 0.95


def test_an_unknown_rule_is_refused():
    with pytest.raises(SimenvError, match="no rule 'all'"):
        VotersPopulation(rule="all")  # type: ignore[arg-type]
