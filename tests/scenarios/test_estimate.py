"""An estimate is above what a run takes, and not by far where everybody stays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simenv.agents.llm import LLMPopulation
from simenv.chat.model import Answer, Message, Question
from simenv.chat.scripted import Scripted
from simenv.errors import SimenvError
from simenv.loop import PageLoop
from simenv.play import play
from simenv.recommenders.random import Random
from simenv.scenarios.estimate import estimate
from simenv.scenarios.runner import run
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


OPTIONS: list[dict[str, Any]] = [
    {},
    {"calls": 2, "memory": {"reflect_after": 0.5}},
    {"personas": "written", "item_texts": "written", "afterwards": ["users", "items"]},
    {"encoder": {"kind": "endpoint", "model": "scripted"}, "memory": {"recall": 1, "reflect_after": 0}},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("ways", [["tool", "json"], ["schema"]])
def test_no_run_gets_more_answers_than_at_most_though_each_has_to_be_repaired(
    tiny: Tiny, listening: Any, tmp_path: Path, options: dict[str, Any], ways: list[str]
):
    """Nobody leaves before the last page, everybody does there, and every first answer is babble; probes count too."""
    listening.by_length, listening.takes = True, {"response_format"}
    model = {"kind": "endpoint", "model": "scripted", "ways": ways}
    told = {"name": "llm", "most_failed": 1.0, "model": model} | options
    scenario = tiny(population=told, users=12, max_pages=3, offline=None)

    def answer(body: dict[str, Any]) -> str:
        first, *others = (Message(one["role"], one["content"]) for one in body["messages"])
        if "rainbow" in first.text:
            return '{"word": "kiwi-7q2"}' if "response_format" in body else "Blue."
        if not others or "That answer cannot be used" not in others[-1].text:
            return "Let me think."
        text, _, in_words = first.text.partition("It has to fit this JSON schema:\n")
        form = json.loads(in_words) if in_words else body["response_format"]["json_schema"]["schema"]
        found = Scripted().answer(Question("page", (Message(first.role, text), *others[:-2]), form))
        then = "bored" if "# Page 3" in str(others) else "stay"
        return json.dumps(found | ({"then": then} if "then" in found else {}))

    listening.answer = answer
    estimated = estimate(scenario)

    result = run(scenario, tmp_path / "run")

    assert {how for kind, counts in result.readings.items() for how in counts if kind != "embedding"} == {"repaired"}
    assert listening.bills <= estimated.most_calls <= 2 * listening.bills
    assert f"At most {estimated.most_calls:,} calls get an answer" in estimated.words()


def test_answers_that_checks_may_ask_for_are_told(tiny: Tiny):
    told = estimate(tiny(population="llm", fidelity={"calls": 500})).words()
    assert "up to 500 answers that fidelity.calls allows" in told
    assert "fidelity" not in estimate(tiny(population="llm")).words()


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
