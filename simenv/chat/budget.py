"""A budget of tokens, money and time: a run stops before it costs more."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simenv.errors import BudgetSpent, ScenarioError
from simenv.options import check_number, check_whole

from .decisions import in_request, is_decided, parts
from .model import Answer, ChatModel, Decision, Question
from .once import Once

MILLION = 1_000_000
TURN = 8  # bytes for what marks a turn


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost."""

    tokens_in: float
    tokens_out: float

    def __post_init__(self) -> None:
        check_number(least=0, **{"prices: tokens_in": self.tokens_in, "prices: tokens_out": self.tokens_out})

    def cost(self, tokens_in: float, tokens_out: float) -> float:
        """Return what so many tokens cost."""
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / MILLION


class Budget:
    """What may be spent, and what is spent so far; several models may share one.

    `seconds` are those of the clock since the first question. A call that fails is counted as nothing, and four bytes
    as a token where an endpoint tells no usage.
    """

    def __init__(
        self,
        tokens: int | None = None,
        money: float | None = None,
        seconds: float | None = None,
        prices: Prices | None = None,
    ) -> None:
        if tokens is not None:
            check_whole(least=0, **{"budget: tokens": tokens})
        for name, most in (("money", money), ("seconds", seconds)):
            if most is not None:
                check_number(least=0, **{f"budget: {name}": most})
        if money is not None and prices is None:
            raise ScenarioError("a budget in money needs prices: what a million tokens cost, in and out")
        self.tokens, self.money, self.seconds, self.prices = tokens, money, seconds, prices or Prices(0.0, 0.0)
        self.tokens_in = self.tokens_out = 0  # spent so far
        self._aside = [0, 0]  # tokens in and out that the calls on their way may take at the most
        self._per_byte = 0.0  # the most tokens per byte that were seen
        self._ends: float | None = None
        self._queue: Queue | None = None

    @property
    def spent(self) -> float:
        """Return the money spent so far."""
        return self.prices.cost(self.tokens_in, self.tokens_out)

    async def ask(self, model: ChatModel, question: Question) -> Answer:
        """Return a model's answer, or raise BudgetSpent before a call that might cost more than is left."""
        left = self._left()
        if left is None or left > 0.0:
            try:
                async with asyncio.timeout(left) as clock:
                    return await self._ask(model, question)
            except TimeoutError:
                if not clock.expired():
                    raise
        raise BudgetSpent(f"the budget of {self.seconds:g} seconds is spent; the run can be resumed with more")

    async def _ask(self, model: ChatModel, question: Question) -> Answer:
        size, queue = _bytes(question), self._queued()
        # Whether decisions are asked for is only known when they are answered.
        most = max(size, _bytes_of_decisions(question)) if question.decisions else size
        worst = await self._set_aside(most, question.most_tokens, queue)
        try:
            answer = await model.ask(question)
            self._count(answer, most if question.decisions and is_decided(answer.text) else size)
            return answer
        finally:
            self._move(worst, -1)
            queue.freed.set()

    def _left(self) -> float | None:
        if self.seconds is None:
            return None
        now = time.monotonic()
        if self._ends is None:
            self._ends = now + self.seconds
        return self._ends - now

    async def _set_aside(self, size: int, most_tokens: int, queue: "Queue") -> tuple[int, int]:
        """Wait until the worst case fits beside those of the calls on their way, or raise."""
        async with queue.first:
            while True:
                worst = math.ceil(size * (self._per_byte or 1.0)), most_tokens
                if self._over(worst, self._aside) is None:
                    self._move(worst, 1)
                    return worst
                if (over := self._over(worst, (0, 0))) is not None:
                    raise BudgetSpent(over)
                # It fits alone, so something is on its way, which mostly takes less than its worst.
                queue.freed.clear()
                await queue.freed.wait()

    def _over(self, worst: tuple[int, int], aside: Sequence[int]) -> str | None:
        """Return what a call would be too much for, None where it is affordable."""
        tokens_in, tokens_out = self.tokens_in + aside[0] + worst[0], self.tokens_out + aside[1] + worst[1]
        if self.tokens is not None and tokens_in + tokens_out > self.tokens:
            spent, most = self.tokens_in + self.tokens_out, sum(worst)
            return (
                f"the budget of {self.tokens:,} tokens is spent: {spent:,} so far, and the next call may take {most:,}"
            )
        if self.money is not None and self.prices.cost(tokens_in, tokens_out) > self.money:
            cost = self.prices.cost(*worst)
            return (
                f"the budget of {self.money:g} is spent: {self.spent:.4g} so far, and the next call may cost {cost:.2g}"
            )
        return None

    def _move(self, worst: tuple[int, int], sign: int) -> None:
        self._aside[0] += sign * worst[0]
        self._aside[1] += sign * worst[1]

    def _count(self, answer: Answer, size: int) -> None:
        tokens_in, tokens_out = answer.tokens_in, answer.tokens_out
        if not tokens_in and not tokens_out:
            tokens_in, tokens_out = size // 4, len(answer.text.encode("utf-8", "replace")) // 4
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self._per_byte = max(self._per_byte, tokens_in / size)

    def _queued(self) -> "Queue":
        """Return who waits in the running loop."""
        loop = asyncio.get_running_loop()
        if self._queue is None or self._queue.loop is not loop:
            self._queue = Queue(loop, asyncio.Lock(), asyncio.Event())
        return self._queue


@dataclass(frozen=True, slots=True)
class Queue:
    """Those who wait until they can be afforded: the first watches what comes back, the others wait for the first."""

    loop: asyncio.AbstractEventLoop
    first: asyncio.Lock
    freed: asyncio.Event


class Budgeted:
    """A model that is asked within a budget; stood around by the record, whose answers cost nothing."""

    def __init__(self, model: ChatModel, budget: Budget) -> None:
        self.model, self.budget = model, budget

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return those of the model: a budget changes no answer."""
        return self.model.settings

    async def ask(self, question: Question) -> Answer:
        """Return the model's answer, or raise BudgetSpent."""
        return await self.budget.ask(self.model, question)

    async def close(self) -> None:
        """Close the model."""
        await self.model.close()


def _bytes(question: Question) -> int:
    """Return the length of a question, its schema included."""
    return _bytes_said(question) + (len(str(question.schema)) if question.schema else 0)


def _bytes_said(question: Question) -> int:
    return sum(len(message.text.encode("utf-8", "replace")) + TURN for message in question.messages)


def _bytes_of_decisions(question: Question) -> int:
    """Return the length of a question's decisions, with what they are about in each request."""
    return len(parts(question.decisions)) * _bytes_said(question) + _bytes_asked(question.decisions)


_bytes_asked: Once[tuple[Decision, ...], int] = Once(lambda some: sum(len(str(in_request(one))) for one in some))
