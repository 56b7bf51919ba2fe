"""A mixture deals each user to one kind, the same in every policy, and each does as his kind does."""

import asyncio
from typing import Any

import numpy as np
import pytest

from simenv.agents.choice import ChoicePopulation
from simenv.agents.llm import LLMPopulation
from simenv.agents.mixture import Member, MixturePopulation, TalkingMixture
from simenv.agents.replay import ReplayPopulation
from simenv.agents.truth import TruthPopulation
from simenv.arrays import IntArray
from simenv.chat.model import Answer, Question
from simenv.chat.scripted import Scripted
from simenv.errors import ScenarioError, SimenvError
from simenv.films import World
from simenv.loop import PageLoop, luck_of
from simenv.pages import Page
from simenv.play import turns
from simenv.population import Introducing, Population, Thinking, judging
from simenv.recommenders.random import Random
from simenv.scenarios.names import build


def mixed(world: World, **options: int) -> MixturePopulation:
    kinds: list[tuple[str, Population, float]] = [
        ("choice", ChoicePopulation(), 0.7),
        ("truth", TruthPopulation(world.truth), 0.3),
    ]
    population = MixturePopulation(of=[Member(*kind) for kind in kinds], **options)
    population.fit(world.dataset)
    return population


def test_shares_are_kept_and_a_seed_deals_anew(world: World):
    population = mixed(world)
    users = np.arange(10_000)
    assert (population.kinds(users) == 1).mean() == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(population.kinds(users[::-1]), population.kinds(users)[::-1])
    assert (mixed(world, seed=1).kinds(users) != population.kinds(users)).mean() > 0.3


def test_each_user_does_as_his_kind_does(world: World):
    population = mixed(world)
    users = np.arange(len(world.dataset.users), dtype=np.int32)
    page = Page(users, users, np.zeros_like(users), np.tile(np.arange(5, dtype=np.int32), (len(users), 1)))
    together = population.enter(users, luck_of(0, users)).react(page)
    judged = population.judge(users, users % 5, luck_of(3, users))
    for kind, member in enumerate(population.of):
        his = population.kinds(users) == kind
        alone = member.population.enter(users, luck_of(0, users)).react(page)
        assert his.any()
        assert np.array_equal(together.grades[his], alone.grades[his])
        assert np.array_equal(together.satisfaction[his], alone.satisfaction[his])
        own = member.population.judge(users, users % 5, luck_of(3, users))  # type: ignore[attr-defined]
        assert np.array_equal(judged.wanted[his], own.wanted[his].astype(float))


class Slow(Scripted):
    """Thinks before it answers."""

    async def ask(self, question: Question) -> Answer:
        await asyncio.sleep(0.01)
        return await super().ask(question)


def talking(world: World) -> MixturePopulation:
    of = [Member("llm", LLMPopulation(), 0.4), Member("choice", ChoicePopulation(), 0.6)]
    population = MixturePopulation(of=of)
    population.fit(world.dataset)
    return population


def sessions(world: World, population: Population, users: IntArray, seed: int = 0) -> dict[int, list[tuple[Any, ...]]]:
    """Return what each user did, page by page."""
    loop = PageLoop(world.dataset, population, page_size=4, max_pages=5)
    policy = Random()
    policy.fit(world.dataset)
    found: dict[int, list[tuple[Any, ...]]] = {}
    for turn in turns(loop, policy, users, seed, "random"):
        told = turn.reaction
        for row, user in enumerate(turn.page.users.tolist()):
            deed = (turn.page.items[row].tolist(), told.grades[row].tolist(), told.satisfaction[row], told.exits[row])
            found.setdefault(user, []).append(deed)
    return found


def test_agents_in_a_mixture_do_as_they_do_alone(world: World):
    population = talking(world)
    users = np.arange(40, dtype=np.int32)
    together = sessions(world, population, users)
    for kind, member in enumerate(population.of):
        mine = users[population.kinds(users) == kind]
        assert len(mine) > 8
        assert sessions(world, member.population, mine) == {user: together[user] for user in mine.tolist()}


def test_agents_of_two_kinds_are_waited_for_in_turn(world: World):
    slow, fast = LLMPopulation(model=Slow()), LLMPopulation()
    population = MixturePopulation(of=[Member("slow", slow), Member("fast", fast)])
    population.fit(world.dataset)
    users = np.arange(30, dtype=np.int32)
    assert sessions(world, population, users) == sessions(world, fast, users)


def test_one_who_takes_a_seat_later_may_be_of_another_kind(world: World):
    population = talking(world)
    kinds = population.kinds(np.arange(40))
    agents, others = (np.flatnonzero(kinds == kind).astype(np.int32) for kind in (0, 1))
    seats = population.enter(agents[:2], luck_of(0, agents[:2]))
    seats.reseat(np.array([1]), others[:1], luck_of(0, others[:1]))
    seats.reseat(np.array([0]), agents[2:3], luck_of(0, agents[2:3]))
    users = np.array([agents[2], others[0]])
    page = Page(users, np.arange(2), np.zeros(2, dtype=np.int32), np.arange(8, dtype=np.int32).reshape(2, 4))
    found = seats.react(page)
    alone = (
        population.of[1]
        .population.enter(others[:1], luck_of(0, others[:1]))
        .react(Page(users[1:], np.arange(1), page.number[1:], page.items[1:]))
    )
    assert np.array_equal(found.grades[1:], alone.grades)
    assert found.words is not None
    assert found.readings is not None
    assert [bool(found.words[0]), found.readings[0], found.readings[1]] == [True, "plain", None]


def test_only_agents_tell_who_they_are_each_with_his_kind(world: World):
    population = talking(world)
    assert isinstance(population, TalkingMixture)
    users = list(range(40))
    told = population.introduce(users)
    agents = [user for user, kind in zip(users, population.kinds(np.arange(40)), strict=True) if kind == 0]
    assert [one["user"] for one in told] == [str(world.dataset.users.ids[user]) for user in agents]
    assert {one["kind"] for one in told} == {"llm"}
    assert population.introduce(users, told) == told


def test_a_mixture_of_users_without_words_introduces_nobody(world: World):
    assert not isinstance(mixed(world), Introducing | Thinking)


def test_users_who_cannot_judge_are_asked_by_pages(world: World):
    assert judging(mixed(world)) is not None
    assert judging(talking(world)) is None


def test_a_kind_that_cannot_judge_is_named(world: World):
    population = MixturePopulation(of=[Member("replay", ReplayPopulation(world.dataset.interactions))])
    with pytest.raises(SimenvError, match="'replay' cannot be asked"):
        population.judge(np.arange(3), np.arange(3), luck_of(0, np.arange(3)))


def test_a_scenario_names_the_kinds(world: World):
    of = [{"name": "choice", "share": 0.7, "look": 0.8}, "truth"]
    made = build("population", "mixture", {"of": of}, {"truth": world.truth})
    assert [(one.label, one.share) for one in made.of] == [("choice", 0.7), ("truth", 1.0)]
    assert made.of[0].population.habits.look == 0.8


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ("choice", "takes a list"),
        ([3], "3 is no such thing"),
        ([{"name": "chioce"}], "did you mean 'choice'"),
        ([{"name": "choice", "share": 0}], "share of 'choice' is 0"),
        ([{"name": "choice", "share": "much"}], "share of 'choice' is 'much'"),
        ([], "names no populations"),
    ],
)
def test_what_is_wrong_with_the_kinds_is_told(of: object, told: str):
    with pytest.raises(ScenarioError, match=told):
        build("population", "mixture", {"of": of}, {})
