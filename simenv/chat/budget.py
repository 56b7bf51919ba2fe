"""A budget of tokens, money and time: a run stops before it costs more."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from simenv.errors import BudgetSpent, ChatError, ScenarioError
from simenv.options import check_number, check_whole

from .decisions import in_request, parts
from .model import Answer, ChatModel, Decision, Question
from .once import Once
from .spending import Counted, Entry, Ledger, Spent

MILLION = 1_000_000
MORE = "the run can be resumed with more"
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

    `seconds` are those of the clock since the first question. With a `ledger` every request is written down, and a
    budget that `goes_on` begins with what earlier processes spent. A request costs what the endpoint tells, and four
    bytes a token where it tells no usage. Where nothing came back, nobody knows: the most that it can have cost counts.
    """

    def __init__(
        self,
        tokens: int | None = None,
        money: float | None = None,
        seconds: float | None = None,
        prices: Prices | None = None,
        *,
        ledger: Ledger | None = None,
        goes_on: bool = False,
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
        self._ledger, self._before = ledger, None if goes_on and ledger is not None else Spent()
        self._aside = [0, 0]  # tokens in and out that the requests on their way may take at the most
        self._lost = [0, 0]  # requests of which nothing came back, and their tokens, in and out, at the most
        self._per_byte = 0.0  # the most tokens per byte that were seen
        self._ends: float | None = None
        self._queue: Queue | None = None

    @property
    def spent(self) -> float:
        """Return the money spent so far."""
        return self.prices.cost(self.tokens_in, self.tokens_out)

    async def ask(self, model: ChatModel, question: Question, *, counts: bool = True) -> Answer:
        """Return a model's answer, or raise BudgetSpent before a request that might cost more than is left.

        `counts` is false for a model that counts its own requests.
        """
        left = self._left()
        if left is None or left > 0.0:
            try:
                async with asyncio.timeout(left) as clock:
                    return await (self._ask(model, question) if counts else model.ask(question))
            except TimeoutError:
                if not clock.expired():
                    raise
        raise BudgetSpent(f"the budget of {self.seconds:g} seconds is spent; {MORE}")

    async def _ask(self, model: ChatModel, question: Question) -> Answer:
        """Return the answer of a model of whose requests nothing is known but what it says of their tokens."""
        size = bytes_of(question)
        async with self.request(question.kind, size, question.most_tokens) as request:
            try:
                answer = await model.ask(question)
            except ChatError:
                request.take(0, 0)
                raise
            if answer.tokens_in or answer.tokens_out:
                request.take(answer.tokens_in, answer.tokens_out)
            else:
                request.guess(answer.text.encode("utf-8", "replace"))
            return answer

    @asynccontextmanager
    async def request(
        self, kind: str, size: int, most_tokens: int, slots: AbstractAsyncContextManager[Any] | None = None
    ) -> AsyncIterator["Request"]:
        """Set aside the most that a request of so many bytes can cost, wait for a slot, and count what it took."""
        queue = self._queued()
        self._begin()
        worst = await self._set_aside(size, most_tokens, queue)
        try:
            async with slots or nullcontext():
                request, entry = Request(size, worst), self._noted(kind, worst)
                try:
                    yield request
                finally:
                    self._count(request, entry)
        finally:
            self._move(worst, -1)
            queue.freed.set()

    def note(self, kind: str, tokens_in: int, tokens_out: int) -> None:
        """Count what was spent beside the questions, such as by a check that an endpoint is there."""
        self._begin()
        request = Request(0, (tokens_in, tokens_out), "told")
        self._count(request, self._noted(kind, request.tokens))

    def close(self) -> None:
        """Write down what waited for a record, and let go of its file."""
        if self._ledger is not None:
            self._ledger.close()

    def _begin(self) -> Spent:
        """Return what was spent before this process, and count it the first time."""
        if self._before is None:
            assert self._ledger is not None
            self._before = self._ledger.before()
            self.tokens_in += self._before.tokens_in
            self.tokens_out += self._before.tokens_out
            self._lost[0] += self._before.lost
            self._lost[1] += self._before.at_most
        return self._before

    def _noted(self, kind: str, worst: tuple[int, int]) -> Entry | None:
        return None if self._ledger is None else self._ledger.begin(kind, *worst)

    def _left(self) -> float | None:
        if self.seconds is None:
            return None
        now = time.monotonic()
        if self._ends is None:
            self._ends = now + self.seconds - self._begin().seconds
        return self._ends - now

    async def _set_aside(self, size: int, most_tokens: int, queue: "Queue") -> tuple[int, int]:
        """Wait until the worst case fits beside those of the requests on their way, or raise."""
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
        """Return what a request would be too much for, None where it is affordable."""
        tokens_in, tokens_out = self.tokens_in + aside[0] + worst[0], self.tokens_out + aside[1] + worst[1]
        if self.tokens is not None and tokens_in + tokens_out > self.tokens:
            spent, most = f"{self.tokens_in + self.tokens_out:,} so far{self._doubt()}", sum(worst)
            return (
                f"the budget of {self.tokens:,} tokens is spent: {spent}, and the next call may take {most:,}; {MORE}"
            )
        if self.money is not None and self.prices.cost(tokens_in, tokens_out) > self.money:
            spent, cost = f"{self.spent:.4g} so far{self._doubt()}", self.prices.cost(*worst)
            return f"the budget of {self.money:g} is spent: {spent}, and the next call may cost {cost:.2g}; {MORE}"
        return None

    def _doubt(self) -> str:
        """Return how much of what is spent is only the most that it can be."""
        requests, tokens = self._lost
        return f" ({tokens:,} tokens of it for {requests} requests that broke off, at the most)" if requests else ""

    def _move(self, worst: tuple[int, int], sign: int) -> None:
        self._aside[0] += sign * worst[0]
        self._aside[1] += sign * worst[1]

    def _count(self, request: "Request", entry: Entry | None) -> None:
        tokens_in, tokens_out = request.tokens
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        if request.counted == "at most":
            self._lost[0] += 1
            self._lost[1] += tokens_in + tokens_out
        elif request.size:
            self._per_byte = max(self._per_byte, tokens_in / request.size)
        if entry is not None and self._ledger is not None:
            self._ledger.end(entry, tokens_in, tokens_out, request.counted)

    def _queued(self) -> "Queue":
        """Return who waits in the running loop."""
        loop = asyncio.get_running_loop()
        if self._queue is None or self._queue.loop is not loop:
            self._queue = Queue(loop, asyncio.Lock(), asyncio.Event())
        return self._queue


@dataclass(slots=True)
class Request:
    """A request on its way: what it took, in tokens in and out; the most that it can take until that is known."""

    size: int  # bytes
    tokens: tuple[int, int]
    counted: Counted = "at most"

    def take(self, tokens_in: int, tokens_out: int) -> None:
        """Say what it took."""
        self.tokens, self.counted = (tokens_in, tokens_out), "told"

    def guess(self, answered: bytes) -> None:
        """Say what was answered, where no usage was told: four bytes count as a token."""
        self.tokens, self.counted = (self.size // 4, min(len(answered) // 4, self.tokens[1])), "by length"


@dataclass(frozen=True, slots=True)
class Queue:
    """Those who wait until they can be afforded: the first watches what comes back, the others wait for the first."""

    loop: asyncio.AbstractEventLoop
    first: asyncio.Lock
    freed: asyncio.Event


@runtime_checkable
class Metered(Protocol):
    """A model that counts its own requests, those included that answer no question."""

    def meter(self, budget: Budget) -> bool:
        """Count requests in this budget from now on; return whether they are counted."""
        ...


class Budgeted:
    """A model that is asked within a budget; stood around by the record, whose answers cost nothing."""

    def __init__(self, model: ChatModel, budget: Budget) -> None:
        self.model, self.budget = model, budget
        self._counts = not (isinstance(model, Metered) and model.meter(budget))

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return those of the model: a budget changes no answer."""
        return self.model.settings

    async def ask(self, question: Question) -> Answer:
        """Return the model's answer, or raise BudgetSpent."""
        return await self.budget.ask(self.model, question, counts=self._counts)

    async def close(self) -> None:
        """Close the model."""
        self.budget.close()
        await self.model.close()


def bytes_of(question: Question) -> int:
    """Return the length of a question, its schema included."""
    return _bytes_said(question) + (len(str(question.schema)) if question.schema else 0)


def bytes_of_decisions(question: Question, part: int) -> int:
    """Return the length of one request for a question's decisions."""
    return _bytes_said(question) + _bytes_asked(question.decisions)[part]


def _bytes_said(question: Question) -> int:
    return sum(len(message.text.encode("utf-8", "replace")) + TURN for message in question.messages)


_bytes_asked: Once[tuple[Decision, ...], list[int]] = Once(
    lambda some: [sum(len(str(in_request(one))) for one in part) for part in parts(some)]
)
