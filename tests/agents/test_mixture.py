"""A mixture deals each user to one kind, the same in every policy, and each does as his kind does."""

import numpy as np
import pytest

from simenv.agents.choice import ChoicePopulation
from simenv.agents.llm import LLMPopulation
from simenv.agents.mixture import Member, MixturePopulation
from simenv.agents.replay import ReplayPopulation
from simenv.agents.truth import TruthPopulation
from simenv.errors import ScenarioError, SimenvError
from simenv.films import World
from simenv.loop import luck_of
from simenv.pages import Page
from simenv.population import Population
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


def test_language_models_are_refused_with_the_remedy():
    with pytest.raises(SimenvError, match=r"'llm' answer each in his own time.*choice, voters"):
        MixturePopulation(of=[Member("llm", LLMPopulation())])


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
