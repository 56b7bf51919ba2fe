"""What a run with language-model agents will take, before anybody is asked."""

from dataclasses import dataclass

import numpy as np

from simenv.agents.llm import LLMPopulation
from simenv.chance import stream
from simenv.chat.budget import Prices
from simenv.errors import SimenvError

from .names import build
from .scenario import Scenario
from .stage import set_stage

SAMPLED = 50  # users whose prompts are measured


@dataclass(frozen=True, slots=True)
class Estimate:
    """The most that a run can take: every user stays for every page."""

    sessions: int
    calls: int
    tokens_in: int
    tokens_out: int
    money: float | None  # None where the scenario tells no prices

    def words(self) -> str:
        """Return it in a sentence."""
        cost = "" if self.money is None else f", {self.money:,.2f} by the scenario's prices"
        return (
            f"at most {self.calls:,} calls for {self.sessions:,} sessions, {self.tokens_in:,} tokens in and"
            f" {self.tokens_out:,} out{cost}; users who leave early, and answers that are recorded already, take less"
        )


def estimate(scenario: Scenario) -> Estimate:
    """Return the most that a scenario's run can take, measured on the prompts of some of its users."""
    stage = set_stage(scenario)
    chosen = scenario.population
    population = build("population", chosen.name, chosen.options, stage.gifts)
    if not isinstance(population, LLMPopulation):
        raise SimenvError(f"population '{chosen.name}' asks no language model, so there is nothing to estimate")
    population.fit(stage.split.train)
    some = stream(0, "estimate").choice(stage.users, size=min(SAMPLED, len(stage.users)), replace=False)
    taken = np.array([population.session_size(int(user), scenario.page_size, scenario.max_pages) for user in some])
    calls, heard, said = taken.mean(axis=0)
    sessions = len(stage.users) * len(scenario.policies) * len(scenario.seeds)
    told = chosen.options.get("model")
    prices = told.get("prices") if isinstance(told, dict) else None
    tokens_in, tokens_out = round(heard * sessions), round(said * sessions)
    money = None if prices is None else Prices(**prices).cost(tokens_in, tokens_out)
    return Estimate(sessions, round(calls * sessions), tokens_in, tokens_out, money)
