"""What a run with language-model agents will take, before anybody is asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simenv.agents.encoders import Embeddings
from simenv.agents.llm import LLMPopulation
from simenv.agents.mixture import MixturePopulation
from simenv.agents.sizes import (
    REPAIRED,
    Size,
    most_calls,
    most_encoder_calls,
    size_of_encoder,
    size_of_keywords,
    size_of_run,
)
from simenv.agents.voters import VotersPopulation
from simenv.arrays import IntArray
from simenv.chat.budget import Prices
from simenv.chat.endpoint import Endpoint
from simenv.chat.opening import Answers
from simenv.errors import SimenvError

from .names import build
from .scenario import Scenario
from .stage import set_stage


@dataclass(frozen=True, slots=True)
class Estimate:
    """About what a run takes if every user stays for every page, and the most calls that it can take."""

    sessions: int
    calls: int  # if every answer is read as it comes
    tokens_in: int
    tokens_out: int
    money: float | None  # None where the scenario tells no prices
    most_calls: int  # with probes, and if every answer has to be repaired
    checks: int | None  # answers that checks against real users may take besides

    def words(self) -> str:
        """Return it in a sentence."""
        cost = "" if self.money is None else f", {self.money:,.2f} by the scenario's prices"
        besides = f", and so do up to {self.checks:,} answers that fidelity.calls allows" if self.checks else ""
        return (
            f"about {self.calls:,} calls for {self.sessions:,} sessions if every user stays to the last page,"
            f" {self.tokens_in:,} tokens in and {self.tokens_out:,} out{cost}; users who leave early, and answers that"
            f" are recorded already, take less. At most {self.most_calls:,} calls get an answer, probes, the encoder's"
            f" texts and a repair of every answer included; attempts that get none come on top{besides}"
        )


def estimate(scenario: Scenario) -> Estimate:
    """Return what a scenario's run can take, its tokens measured on the prompts of some of its users."""
    stage = set_stage(scenario)
    chosen = scenario.population
    answers = Answers()
    population = build("population", chosen.name, chosen.options, stage.gifts | {"answers": answers})
    asked = list(_agents(population, chosen.options, stage.users))
    if not asked:
        raise SimenvError(f"population '{chosen.name}' asks no language model, so there is nothing to estimate")
    total, money, priced, most = Size(), 0.0, True, 0
    for one in answers.recorded:
        most += one.most_probes if isinstance(one, Endpoint) else 0
    visit = {"page_size": scenario.page_size, "pages": scenario.max_pages}
    encounters = len(scenario.policies) * len(scenario.seeds)
    for agents, model, encoder, users in asked:
        sizes: list[tuple[Size, Any]] = []
        if isinstance(agents, VotersPopulation):  # whose keywords are asked for once
            sizes.append((size_of_keywords(stage.split.train), model))
            most += REPAIRED * len(stage.split.train.catalog)
        else:
            agents.fit(stage.split.train)
            sizes.append((size_of_run(agents, users.tolist(), encounters=encounters, **visit), model))
            most += most_calls(agents, len(users), encounters=encounters, **visit)
            if isinstance(agents.encoder, Embeddings):
                sizes.append((size_of_encoder(agents, len(users), **visit), encoder))
                most += most_encoder_calls(agents, len(users), encounters=encounters, **visit)
        for size, told in sizes:
            total += size
            prices = told.get("prices") if isinstance(told, Mapping) else None
            priced = priced and prices is not None
            money += Prices(**prices).cost(round(size.tokens_in), round(size.tokens_out)) if prices else 0.0
    calls, tokens_in, tokens_out = round(total.calls), round(total.tokens_in), round(total.tokens_out)
    checks = scenario.fidelity.calls if scenario.fidelity.measure else None
    return Estimate(stage.sessions, calls, tokens_in, tokens_out, money if priced else None, most, checks)


def _agents(
    population: object, options: Mapping[str, Any], users: IntArray
) -> Iterator[tuple[LLMPopulation | VotersPopulation, Any, Any, IntArray]]:
    """Yield each kind of users who ask a model, what the scenario tells of it and of an encoder, and who they are."""
    if isinstance(population, VotersPopulation) and population.keywords is not None:
        yield population, options.get("keywords"), None, users
    elif isinstance(population, LLMPopulation):
        yield population, options.get("model"), options.get("encoder"), users
    elif isinstance(population, MixturePopulation):
        kinds = population.kinds(users)
        for kind, (member, told) in enumerate(zip(population.of, options["of"], strict=True)):
            rest = told if isinstance(told, Mapping) else {}
            if (kinds == kind).any():
                yield from _agents(member.population, rest, users[kinds == kind])
