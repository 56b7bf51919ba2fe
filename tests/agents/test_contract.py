"""Every population keeps to the contract."""

from dataclasses import replace

import numpy as np

from simenv.agents.choice import ChoicePopulation
from simenv.agents.llm import LLMPopulation
from simenv.agents.mixture import Member, MixturePopulation
from simenv.agents.replay import ReplayPopulation
from simenv.agents.truth import TruthPopulation
from simenv.agents.voters import VotersPopulation
from simenv.checks import PopulationChecks
from simenv.films import World


class TestChoice(PopulationChecks):
    make = ChoicePopulation


class TestChoiceOfImplicitData(PopulationChecks):
    """Nobody ever rated anything."""

    make = ChoicePopulation

    def world(self) -> World:
        world = super().world()
        log = replace(world.dataset.interactions, ratings=np.full(len(world.dataset.interactions), np.float32(np.nan)))
        return World(world.dataset.only(log), world.truth)


class TestChoiceOfBareItems(PopulationChecks):
    """The catalogue holds nothing but ids."""

    make = ChoicePopulation

    def world(self) -> World:
        world = super().world()
        catalog = world.dataset.catalog
        nothing = np.full(len(catalog), None, dtype=object)
        bare = replace(catalog, titles=nothing, categories=((),) * len(catalog), descriptions=nothing)
        return World(replace(world.dataset, catalog=bare), world.truth)


class TestVoters(PopulationChecks):
    make = VotersPopulation


class TestMixture(PopulationChecks):
    def make(self) -> MixturePopulation:
        kinds = {"choice": ChoicePopulation(), "truth": TruthPopulation(self.world().truth)}
        kinds["replay"] = ReplayPopulation(self.split().test)
        return MixturePopulation(of=[Member(name, kind) for name, kind in kinds.items()])


class TestTruth(PopulationChecks):
    def make(self) -> TruthPopulation:
        return TruthPopulation(self.world().truth)


class TestLLM(PopulationChecks):
    make = LLMPopulation


class TestAnchoredLLM(PopulationChecks):
    def make(self) -> LLMPopulation:
        return LLMPopulation(anchor=0.6, show=["rating", "popularity"], memory={"capacity": 6, "reflect_after": 0.5})


class TestReplay(PopulationChecks):
    by_luck = False

    def make(self) -> ReplayPopulation:
        return ReplayPopulation(self.split().test)
