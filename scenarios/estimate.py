"""What a run with language-model agents will take, before anybody is asked."""

from dataclasses import dataclass

from simenv.agents.llm import LLMPopulation
from simenv.agents.sizes import size_of_run
from simenv.chat.budget import Prices
from simenv.errors import SimenvError

from .names import build
from .scenario import Scenario
from .stage import set_stage


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
            f" {self.tokens_out:,} out{cost}; users who leave early, and answers that are recorded already, take less;"
            " each answer that cannot be read takes a call more"
        )


def estimate(scenario: Scenario) -> Estimate:
    """Return the most that a scenario's run can take, measured on the prompts of some of its users."""
    stage = set_stage(scenario)
    chosen = scenario.population
    population = build("population", chosen.name, chosen.options, stage.gifts)
    if not isinstance(population, LLMPopulation):
        raise SimenvError(f"population '{chosen.name}' asks no language model, so there is nothing to estimate")
    population.fit(stage.split.train)
    encounters = len(scenario.policies) * len(scenario.seeds)
    size = size_of_run(
        population,
        stage.users.tolist(),
        encounters=encounters,
        page_size=scenario.page_size,
        pages=scenario.max_pages,
    )
    told = chosen.options.get("model")
    prices = told.get("prices") if isinstance(told, dict) else None
    tokens_in, tokens_out = round(size.tokens_in), round(size.tokens_out)
    money = None if prices is None else Prices(**prices).cost(tokens_in, tokens_out)
    return Estimate(stage.sessions, round(size.calls), tokens_in, tokens_out, money)
