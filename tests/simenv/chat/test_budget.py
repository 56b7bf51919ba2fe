"""Budgets: they stop a run before it costs more, and answers of the record are free."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simenv.chat.budget import Budget, Budgeted, Prices
from simenv.chat.model import Answer, Question
from simenv.chat.record import Record, Recorded
from simenv.errors import BudgetSpent, ScenarioError


class Plain:
    """A model that takes this many tokens and this long."""

    settings: dict[str, Any]

    def __init__(self, tokens_in: int = 10, tokens_out: int = 5, seconds: float = 0.0) -> None:
        self.settings = {}
        self.tokens_in, self.tokens_out, self.seconds = tokens_in, tokens_out, seconds
        self.calls = self.now = self.most = 0

    async def ask(self, _: Question) -> Answer:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.now -= 1
        return Answer("x" * 40, self.tokens_in, self.tokens_out)

    async def close(self) -> None: ...


def told(model: Any, *questions: Any) -> list[Answer | BaseException]:
    async def run() -> list[Answer | BaseException]:
        return await asyncio.gather(*map(model.ask, questions), return_exceptions=True)

    return asyncio.run(run())


def test_tokens_are_never_passed_and_used_up_to_less_than_a_question(question: Callable[..., Any]):
    budget, model = Budget(tokens=1000), Plain()
    answers = told(Budgeted(model, budget), *(question(str(n), most_tokens=20) for n in range(200)))
    spent = budget.tokens_in + budget.tokens_out
    stopped = [answer for answer in answers if isinstance(answer, BudgetSpent)]

    assert 900 < spent <= 1000
    assert model.calls == spent // 15
    assert len(stopped) == 200 - model.calls
    assert "the budget of 1,000 tokens is spent" in str(stopped[0])


def test_money_is_counted_by_prices(question: Callable[..., Any]):
    budget = Budget(money=0.01, prices=Prices(tokens_in=10.0, tokens_out=100.0))
    answers = told(Budgeted(Plain(), budget), *(question(str(n), most_tokens=10) for n in range(50)))
    assert 0.008 < budget.spent <= 0.01
    assert budget.spent == pytest.approx(0.0006 * sum(isinstance(answer, Answer) for answer in answers))


def test_calls_wait_for_what_those_on_their_way_leave(question: Callable[..., Any]):
    budget, model = Budget(tokens=5000), Plain(seconds=0.001)
    answers = told(Budgeted(model, budget), *(question(str(n), most_tokens=1000) for n in range(100)))
    assert all(isinstance(answer, Answer) for answer in answers)
    assert 1 < model.most <= 4


def test_time_ends_calls_on_their_way_and_those_that_wait(question: Callable[..., Any]):
    budget = Budget(seconds=0.1)
    began = time.monotonic()
    answers = told(Budgeted(Plain(seconds=5.0), budget), *(question(str(n)) for n in range(10)))
    assert {type(answer) for answer in answers} == {BudgetSpent}
    assert time.monotonic() - began < 2.0
    assert {type(answer) for answer in told(Budgeted(Plain(), budget), question())} == {BudgetSpent}


def test_answers_of_the_record_are_free(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], tmp_path: Path
):
    record = Record(tmp_path / "answers.db")

    async def run(budget: Budget, *texts: str) -> int:
        model = Recorded(Budgeted(direct(), budget), record)
        try:
            return len([await model.ask(question(text, most_tokens=10)) for text in texts])
        finally:
            await model.close()

    assert asyncio.run(run(Budget(tokens=500), "one", "two")) == 2
    assert asyncio.run(run(Budget(tokens=0), "one", "two")) == 2
    with pytest.raises(BudgetSpent):
        asyncio.run(run(Budget(tokens=0), "one", "two", "three"))
    assert len(server.requests) == 2


def test_an_endpoint_that_tells_no_usage_is_counted_by_its_bytes(question: Callable[..., Any]):
    budget = Budget()
    told(Budgeted(Plain(0, 0), budget), question("x" * 400))
    assert 100 <= budget.tokens_in <= 115
    assert budget.tokens_out == 10


def test_a_call_that_fails_frees_what_was_set_aside(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], script: Any
):
    server.faults = [script.status(503)] * 5
    budget = Budget(tokens=400)
    answers = told(Budgeted(direct(), budget), *(question(str(n), most_tokens=100) for n in range(6)))
    assert sum(isinstance(answer, Answer) for answer in answers) == 1
    assert (budget.tokens_in, budget.tokens_out) == (100, 10)


def test_money_without_prices_is_refused():
    with pytest.raises(ScenarioError, match="prices"):
        Budget(money=1.0)
