"""What a run with language-model agents will take, before anybody is asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simenv.agents.llm import LLMPopulation
from simenv.agents.mixture import MixturePopulation
from simenv.agents.sizes import Size, size_of_keywords, size_of_run
from simenv.agents.voters import VotersPopulation
from simenv.arrays import IntArray
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
    asked = list(_agents(population, chosen.options, stage.users))
    if not asked:
        raise SimenvError(f"population '{chosen.name}' asks no language model, so there is nothing to estimate")
    total, money, priced = Size(), 0.0, True
    for agents, model, users in asked:
        if isinstance(agents, VotersPopulation):  # whose keywords are asked for once
            size = size_of_keywords(stage.split.train)
        else:
            agents.fit(stage.split.train)
            size = size_of_run(
                agents,
                users.tolist(),
                encounters=len(scenario.policies) * len(scenario.seeds),
                page_size=scenario.page_size,
                pages=scenario.max_pages,
            )
        total += size
        prices = model.get("prices") if isinstance(model, Mapping) else None
        priced = priced and prices is not None
        money += Prices(**prices).cost(round(size.tokens_in), round(size.tokens_out)) if prices else 0.0
    calls, tokens_in, tokens_out = round(total.calls), round(total.tokens_in), round(total.tokens_out)
    return Estimate(stage.sessions, calls, tokens_in, tokens_out, money if priced else None)


def _agents(
    population: object, options: Mapping[str, Any], users: IntArray
) -> Iterator[tuple[LLMPopulation | VotersPopulation, Any, IntArray]]:
    """Yield each kind of users for whom a model is asked, what the scenario tells of it, and which users they are."""
    if isinstance(population, VotersPopulation) and population.keywords is not None:
        yield population, options.get("keywords"), users
    elif isinstance(population, LLMPopulation):
        yield population, options.get("model"), users
    elif isinstance(population, MixturePopulation):
        kinds = population.kinds(users)
        for kind, (member, told) in enumerate(zip(population.of, options["of"], strict=True)):
            rest = told if isinstance(told, Mapping) else {}
            if (kinds == kind).any():
                yield from _agents(member.population, rest, users[kinds == kind])
