"""Users by three votes heed their own history, and neither like nor dislike everything."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simenv.agents.keywords import counted, question_of
from simenv.agents.voters import Rule, VotersPopulation
from simenv.arrays import GradeArray, IntArray
from simenv.catalog import Catalog
from simenv.chat.model import Answer, Question
from simenv.chat.scripted import Scripted
from simenv.dataset import Dataset, Users, liked_from
from simenv.errors import PopulationError, SimenvError
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


class Naming(Scripted):
    """Names keywords by a rule of its own, or says nothing that can be read; counts how often it is asked."""

    def __init__(self, say: Callable[[str], Any]) -> None:
        super().__init__()
        self.say, self.asked = say, 0

    async def ask(self, question: Question) -> Answer:
        self.asked += 1
        return Answer(json.dumps({"keywords": self.say(question.messages[-1].text)}))


def test_a_model_names_the_keywords_once_and_users_go_by_them(big: World):
    """Films are named by the fifth that they are in: they match where another of that fifth was liked."""
    catalog, log = big.dataset.catalog, big.dataset.interactions
    fifths = {question_of(big.dataset, item).messages[-1].text: f"Fifth  {item % 5}" for item in range(len(catalog))}
    model, nobody = Naming(lambda text: [fifths[text]]), Naming(lambda text: [text[-200:-170]])
    population, other = VotersPopulation(keywords=model), VotersPopulation(keywords=nobody)
    population.fit(big.dataset)
    other.fit(big.dataset)
    assert model.asked == len(fifths) == 150

    users, items = np.repeat(np.arange(150), 150), np.tile(np.arange(150), 150)
    population.judge(users, items, luck_of(0, users))
    population.enter(users[:5], luck_of(0, users[:5]))
    assert model.asked == 150
    assert population.panel is not None
    assert other.panel is not None
    more = (population.panel.facets.of(users, items).chosen[0] - other.panel.facets.of(users, items).chosen[0])[:, 0]
    good = log[log.ratings >= liked_from(log.ratings)]
    liked = set(zip(good.users.tolist(), good.items.tolist(), strict=True))
    matches = [
        any((user, one) in liked for one in range(item % 5, 150, 5) if one != item)
        for user, item in zip(users.tolist(), items.tolist(), strict=True)
    ]
    assert np.array_equal(more > 1e-9, matches)
    assert "a scripted stand-in" in population.facts()["about"]


def test_keywords_that_many_items_share_are_counted_once_an_item():
    matrix = counted([["war", "love"], ["war"], []])
    assert matrix.toarray().tolist() == [[1, 1], [0, 1], [0, 0]]


def test_a_model_that_names_nothing_is_told(big: World):
    with pytest.raises(PopulationError, match="and most_failed is"):
        VotersPopulation(keywords=Naming(lambda _: [])).fit(big.dataset)


def test_a_few_items_without_keywords_are_borne(big: World):
    said = iter(range(10**6))
    model = Naming(lambda _: [] if next(said) < 4 else ["war"])
    population = VotersPopulation(keywords=model, most_failed=0.1)
    population.fit(big.dataset)
    users = np.arange(150)
    assert model.asked > 150  # who said nothing was asked once more
    assert 0 < population.judge(users, users % 7, luck_of(0, users)).wanted.mean() < 1


def test_who_is_no_model_is_refused():
    with pytest.raises(SimenvError, match="no kind 'oracle'"):
        VotersPopulation(keywords={"kind": "oracle"})
