"""An estimate is above what a run takes, and not by far where everybody stays."""

from collections.abc import Callable

import numpy as np
import pytest

from simenv.agents.llm import LLMPopulation
from simenv.chat.model import Answer, Question
from simenv.chat.scripted import Scripted
from simenv.errors import SimenvError
from simenv.loop import PageLoop
from simenv.play import play
from simenv.recommenders.random import Random
from simenv.scenarios.estimate import estimate
from simenv.scenarios.scenario import Scenario
from simenv.splits import Split

Tiny = Callable[..., Scenario]


class Patient(Scripted):
    """Never leaves, and counts what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.tokens_in = 0

    async def ask(self, question: Question) -> Answer:
        answer = await super().ask(question)
        self.calls += 1
        self.tokens_in += answer.tokens_in
        return answer

    def answer(self, question: Question) -> dict:
        found = super().answer(question)
        return found | ({"then": "stay"} if "then" in found else {})


def test_it_is_near_what_a_run_takes_in_which_nobody_leaves(tiny: Tiny, split: Split):
    model, policy = Patient(), Random()
    population = LLMPopulation(model=model)
    population.fit(split.train)
    policy.fit(split.train)
    list(play(PageLoop(split.train, population, page_size=3, max_pages=4), policy, np.arange(40), 0, batch_size=40))

    told = estimate(tiny(population="llm", policies=["random"]))

    assert told.sessions == 40
    assert model.calls <= told.calls <= 1.6 * model.calls
    assert 0.8 * model.tokens_in <= told.tokens_in <= 1.8 * model.tokens_in


def test_money_is_told_where_there_are_prices(tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    model = {"kind": "endpoint", "model": "any", "prices": {"tokens_in": 1.0, "tokens_out": 10.0}}
    told = estimate(tiny(population={"name": "llm", "model": model}))

    assert told.money == pytest.approx((told.tokens_in + 10 * told.tokens_out) / 1e6)
    assert f"{told.money:,.2f} by the scenario's prices" in told.words()


def test_other_users_ask_nobody(tiny: Tiny):
    with pytest.raises(SimenvError, match="population 'truth' asks no language model"):
        estimate(tiny())


def test_keywords_are_asked_for_once_an_item(tiny: Tiny):
    found = estimate(tiny(population={"name": "voters", "keywords": "scripted"}))
    assert found.calls == 80
    assert found.tokens_in > 80 * 50
    with pytest.raises(SimenvError, match="asks no language model"):
        estimate(tiny(population="voters"))
