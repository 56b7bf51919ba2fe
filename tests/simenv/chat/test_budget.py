"""Budgets: they stop a run before it costs more, and answers of the record are free."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simenv.chat.budget import Budget, Budgeted, Prices, bytes_of
from simenv.chat.model import Answer, Question
from simenv.chat.record import Record, Recorded
from simenv.chat.spending import Ledger, Spent
from simenv.chat.usage import Usage, usage
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


def test_what_broke_off_counts_at_the_most_that_it_can_have_cost_and_goes_on_doing_so(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], script: Any, tmp_path: Path
):
    """A cancelled call, one that is hung up on, and one that is refused; the next process begins with their sum."""
    record = Record(tmp_path / "answers.db")
    record.put(b"k", "page", Answer("so that there is a file"))
    budget = Budget(tokens=10_000, ledger=Ledger(record, "mark"))
    server.faults = [script.hung_up, script.status(503), script.body(b'{"usage": {"prompt_tokens": 40, "comp')]
    told(Budgeted(direct(), budget), *(question(most_tokens=100) for _ in range(3)))
    server.delay = 5.0

    async def cancelled() -> None:
        model = Budgeted(direct(), budget)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await model.ask(question(most_tokens=100))
        await model.close()

    asyncio.run(cancelled())

    # A token a byte where none was seen yet, and then as many as were seen at the most.
    assert (budget.tokens_in, budget.tokens_out) == (40 + bytes_of(question()) + 40, 200)
    again = Budget(tokens=100, ledger=Ledger(record, "mark"), goes_on=True)
    with pytest.raises(BudgetSpent, match=r"so far \(\d+ tokens of it for 2 requests that broke off, at the most\)"):
        asyncio.run(Budgeted(direct(), again).ask(question()))
    assert (again.tokens_in, again.tokens_out) == (budget.tokens_in, budget.tokens_out)
    other = Ledger(record, "another model's")
    assert other.before() == Spent()


def test_what_a_check_costs_is_written_down_once_there_is_a_record(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], script: Any, tmp_path: Path
):
    """A check comes before anything is written, and leaves nothing behind where it fails."""
    record = Record(tmp_path / "run" / "answers.db")
    model, budget = direct(), Budget(ledger=Ledger(record, "mark"))
    asked = Recorded(Budgeted(model, budget), record)
    server.always = script.body(json.dumps(script.completion("Yes?")).encode())
    asyncio.run(model.check())
    assert (budget.tokens_in, budget.tokens_out) == (100, 10)
    assert not record.path.parent.exists()

    server.always = None
    told(asked, question())

    asyncio.run(asked.close())
    assert usage(record.path) == {"check": Usage(1, 0, 100, 10), "page": Usage(1, 0, 100, 10)}
    assert Ledger(record, "mark").before().tokens_in == 200


def test_what_answers_without_usage_take_is_told_by_their_length(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], script: Any
):
    reply = json.dumps(script.completion("x" * 80) | {"usage": None}).encode()
    server.always = script.body(reply)
    budget = Budget()
    asyncio.run(Budgeted(direct(), budget).ask(question("x" * 400)))
    assert 100 <= budget.tokens_in <= 115
    assert budget.tokens_out == 20


def test_money_without_prices_is_refused():
    with pytest.raises(ScenarioError, match="prices"):
        Budget(money=1.0)
