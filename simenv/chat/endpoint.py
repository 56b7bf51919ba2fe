"""An endpoint that speaks chat completions: what the direct and the compatible path have in common."""

import asyncio
import json
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from simenv.errors import ChatError, ScenarioError
from simenv.options import check_number, check_whole
from simenv.plain_text import is_cut, without_secret_path

from .bodies import Bodies
from .budget import Budget, bytes_of, bytes_of_decisions
from .decisions import decided, heard, parts
from .decisions import probe as probe_decisions
from .faults import DeadEnd, Passing, Refused, Unreachable
from .finding import Finding
from .key import VARIABLE, Key
from .model import Answer, Question
from .replies import AGAIN, answer_of, complaint, fault_of, models_of, said_in, usage_of
from .ways import Way, obeyed, probe

log = logging.getLogger(__name__)

Client = TypeVar("Client")
CHECKING = 30.0  # seconds that a check waits at most
NO_SUCH_MODEL = (b"model_not_found", b"does not exist", b"not a valid model", b"model not found", b"pinned to")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Line(Generic[Client]):
    """What belongs to one event loop: its connections, and who may use them."""

    loop: asyncio.AbstractEventLoop
    client: Client
    slots: asyncio.Semaphore


class Endpoint(ABC, Generic[Client]):
    """A model behind an OpenAI-compatible endpoint.

    `base_url` is OPENAI_BASE_URL unless given, and the key is always OPENAI_API_KEY. Never more than `slots` requests
    are on their way. `seed` sends the draw as the seed, `extra` whatever else the endpoint wants in every request.
    Of several `ways` to ask for a form the first that a probe finds obeyed is used; `way` tells which. Decisions are
    beside them, asked where the probe of `/decisions` is answered as it should be, which `decides` tells; alone among
    the ways they are asked without a probe, and what names none in words.
    """

    offers = "chat completions"  # what an address must have to be asked

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        temperature: float | None = None,
        seed: bool = False,
        ways: Sequence[str] = tuple(Way),
        slots: int = 64,
        timeout: float = 120.0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if not (isinstance(model, str) and model):
            raise ScenarioError(f"model is {model!r}; it must be the name of one that the endpoint has")
        if not isinstance(seed, bool):
            raise ScenarioError(f"seed is {seed!r}; it must be true, to send each answer's own seed, or false")
        check_whole(slots=slots)
        check_number(above=0, timeout=timeout)
        if temperature is not None:
            check_number(least=0, temperature=temperature)
        self.model, self.seed = model, seed
        self.temperature = None if temperature is None else float(temperature)  # 1 and 1.0 are one setting
        if isinstance(ways, str) or not ways or not set(ways) <= set(Way):
            raise ScenarioError(f"ways are {', '.join(Way)}, a list of at least one of them, not {ways!r}")
        self.ways = tuple(way for way in Way if way in ways)
        self._in_words = tuple(way for way in self.ways if way is not Way.DECISIONS) or (Way.JSON,)
        self._way: Finding[Way] = Finding(self._in_words[0] if len(self._in_words) == 1 else None)
        pinned = self.ways == (Way.DECISIONS,)
        self._decides = Finding(None if Way.DECISIONS in self.ways and not pinned else pinned)
        self.slots, self.timeout, self.extra = slots, timeout, _sent(extra or {})
        self.base_url = _address(_whole(base_url))
        self._bodies = Bodies(model, self.temperature, seed, self.extra)
        self._key = Key()
        self._budget = Budget()  # without an end, unless one is told
        self._held: Line[Client] | None = None
        self._told: set[str] = set()  # of trouble on the way

    @property
    def way(self) -> Way | None:
        """Return how a form is asked for in words; None before it is known."""
        return self._way.value

    @property
    def decides(self) -> bool | None:
        """Return whether decisions are asked for; None before it is known."""
        return self._decides.value

    @property
    def most_probes(self) -> int:
        """Return how many answers it takes at the most to find out that it is there and how it is asked."""
        in_words = len(self._in_words) - 1  # each asked for with two lengths; then once without a form
        decides = Way.DECISIONS in self.ways and self.ways != (Way.DECISIONS,)
        return 1 + 2 * in_words + bool(in_words) + 2 * decides

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what answers follow from; of the ways those to choose from, which a replay knows without a probe."""
        ways = [way.value for way in self.ways]
        settings: dict[str, Any] = {"model": self.model, "temperature": self.temperature, "ways": ways}
        return settings | {"seed": self.seed, "extra": self.extra}

    async def ask(self, question: Question) -> Answer:
        """Return the answer, or raise Passing, Refused or DeadEnd."""
        line = self._line()
        if question.decisions and await self._decides.get(lambda: self._probe_decisions(line)):
            return await self._decide(line, question)
        if question.schema is None:
            return await self._ask(line, question, None)
        return await self._ask(line, question, await self._way.get(lambda: self._probe(line)))

    async def close(self) -> None:
        """Close the connections; those of another loop went with it."""
        line, self._held = self._held, None
        if line is not None and line.loop is asyncio.get_running_loop():
            await self._disconnect(line.client)

    @abstractmethod
    def _connect(self) -> Client:
        """Return what holds connections, in the running loop."""

    @abstractmethod
    async def _disconnect(self, client: Client) -> None:
        """Close its connections."""

    @abstractmethod
    async def _post(self, client: Client, question: Question, way: Way | None) -> Reply:
        """Send a question and return what came back, or raise Passing."""

    @abstractmethod
    async def _post_decisions(self, client: Client, question: Question, part: int) -> Reply:
        """Send one request of those for a question's decisions and return what came back, or raise Passing."""

    @abstractmethod
    async def _list_models(self, client: Client) -> Reply:
        """Return what `/models` answers, or raise Passing."""

    @abstractmethod
    async def _knock(self, client: Client) -> Reply:
        """Send a request that asks nothing, which whoever is there refuses for free, or raise Passing."""

    async def _models(self, client: Client) -> bytes:
        """Return the body of what `/models` answers, nothing where it does not."""
        try:
            reply = await self._list_models(client)
        except Passing:
            return b""
        return reply.body if reply.status == 200 else b""

    async def check(self) -> None:
        """Raise DeadEnd where nobody listens, the key is refused, or chat is not there; the model is asked nothing.

        Whoever is silent, or does not list its models, may answer all the same.
        """
        line = self._line()
        try:
            async with asyncio.timeout(min(self.timeout, CHECKING)):
                reply = await self._list_models(line.client)
                if reply.status in (401, 403):
                    raise await self._fault(line, replace(reply, body=self._key.hide(reply.body)))
                if self.ways == (Way.DECISIONS,):
                    return  # whoever only decides need not chat
                reply = await self._knock(line.client)
                if (cost := usage_of(reply.body)) is not None:
                    self._budget.note("check", *cost)
                if reply.status == 200:
                    return
                fault = await self._fault(line, replace(reply, body=self._key.hide(reply.body)), self.offers)
                if isinstance(fault, DeadEnd):
                    raise fault
        except Unreachable as error:
            where = without_secret_path(self.base_url)
            raise DeadEnd(f"{where}: {error}; base_url or OPENAI_BASE_URL says where it is") from None
        except (Passing, TimeoutError):
            return
        finally:
            await self.close()  # whoever asks later opens connections of their own

    def _line(self) -> Line[Client]:
        loop = asyncio.get_running_loop()
        if self._held is None or self._held.loop is not loop:
            self._held = Line(loop, self._connect(), asyncio.Semaphore(self.slots))
            self._way.forget()
            self._decides.forget()
        return self._held

    def meter(self, budget: Budget) -> bool:
        """Count all requests in this budget."""
        self._budget = budget
        return True

    async def _send(
        self, line: Line[Client], question: Question, size: int, post: Callable[[], Awaitable[Reply]]
    ) -> tuple[Reply, float]:
        """Send a request of so many bytes, once the budget and a slot allow; count what it cost.

        A reply that is no answer may have cost as much as one: its usage counts wherever it tells any.
        """
        async with self._budget.request(question.kind, size, question.most_tokens, line.slots) as request:
            started = time.perf_counter()
            try:
                reply = await post()
            except Unreachable:
                request.take(0, 0)
                raise
            seconds = time.perf_counter() - started
            if (told := usage_of(reply.body)) is not None:
                request.take(*told)
            elif reply.status == 200:
                request.guess(said_in(reply.body))
            else:
                request.take(0, 0)
        return reply, seconds

    async def _ask(self, line: Line[Client], question: Question, way: Way | None) -> Answer:
        limit = self._bodies.limit
        reply, seconds = await self._send(
            line, question, bytes_of(question), lambda: self._post(line.client, question, way)
        )
        if reply.status == 200:
            return answer_of(self._key.hide(reply.body), seconds)
        if limit == "max_tokens" and b"max_completion_tokens" in reply.body:
            self._bodies.limit = "max_completion_tokens"
            return await self._ask(line, question, way)
        raise await self._fault(line, replace(reply, body=self._key.hide(reply.body)))

    async def _decide(self, line: Line[Client], question: Question) -> Answer:
        started, bodies = time.perf_counter(), []
        for part in range(len(parts(question.decisions))):
            reply = await self._decide_part(line, question, part)
            if reply.status != 200:
                raise await self._fault(line, reply, "typed decisions")
            bodies.append(reply.body)
        return decided(bodies, question.decisions, time.perf_counter() - started)

    async def _decide_part(self, line: Line[Client], question: Question, part: int) -> Reply:
        size = bytes_of_decisions(question, part)
        reply, _ = await self._send(line, question, size, lambda: self._post_decisions(line.client, question, part))
        return replace(reply, body=self._key.hide(reply.body))

    async def _fault(self, line: Line[Client], reply: Reply, what: str = "chat completions") -> ChatError:
        """Return what a status other than 200 means, and what would be right."""
        told = f"HTTP {reply.status}: {complaint(reply.body)}"
        if reply.status in (401, 403):
            key = f"the key in {VARIABLE} is refused" if self._key else f"it wants a key, and {VARIABLE} is not set"
            return DeadEnd(f"{without_secret_path(self.base_url)}: {key} ({told})")
        unknown = any(words in reply.body.lower() for words in NO_SUCH_MODEL)
        if reply.status == 404 or (reply.status == 400 and unknown):
            names = models_of(await self._models(line.client))
            if names and self.model not in names:
                there = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
                return DeadEnd(f"{without_secret_path(self.base_url)} knows no model '{self.model}'; it has {there}")
            if unknown:
                return DeadEnd(f"{without_secret_path(self.base_url)} knows no model '{self.model}' ({told})")
            return DeadEnd(
                f"{without_secret_path(self.base_url)} has no {what} ({told}); such an address mostly ends with /v1"
            )
        return fault_of(reply.status, reply.headers, reply.body)

    def _trouble(self, what: str, kind: type[Passing] = Passing) -> Passing:
        """Return the error for what went wrong on the way; the log says the first time where that was.

        The error itself does not: it may come to stand in a record or an event log, and those name no host.
        """
        log.log(
            logging.DEBUG if what in self._told else logging.WARNING, "%s %s", without_secret_path(self.base_url), what
        )
        self._told.add(what)
        return kind(f"the endpoint {what}")

    async def _probe(self, line: Line[Client]) -> Way:
        """Return the first way that is obeyed; the last is taken as it is."""
        broke = False
        for way in self._in_words[:-1]:
            obeys = await self._obeys(line, way)
            if obeys:
                return self._found(way)
            broke |= obeys is None
        if broke:  # by the form that it was asked for, or is it ill? Then this raises, and nothing is settled.
            await self._ask(line, replace(probe(16), schema=None), None)
        return self._found(self._in_words[-1])

    def _found(self, way: Way) -> Way:
        log.info("%s: the form of an answer is asked for by %s", self.model, way)
        return way

    async def _probe_decisions(self, line: Line[Client]) -> bool:
        """Return whether decisions are answered as they should be; where they are not, one request has told."""
        asked = probe_decisions()
        reply = await self._decide_part(line, asked, 0)
        if reply.status in AGAIN or reply.status > 501:
            raise fault_of(reply.status, reply.headers, reply.body)
        if reply.status == 500:  # by what it was asked for, or is it ill? Then this raises, and nothing is settled.
            await self._ask(line, replace(probe(16), schema=None), None)
        takes = reply.status == 200 and _answers_all(reply.body, asked)
        log.info("%s: typed decisions are %s", self.model, "answered" if takes else "not answered")
        return takes

    async def _obeys(self, line: Line[Client], way: Way) -> bool | None:
        """Return whether the endpoint obeys a way; None where it breaks when asked that way."""
        for most_tokens in (64, 1024):  # the second is for those that think first
            try:
                answer = await self._ask(line, probe(most_tokens), way)
            except Refused:
                return False
            except Passing as error:
                if error.status not in (500, 501):
                    raise
                if most_tokens > 64:
                    return None
                continue
            if obeyed(answer.text):
                return True
            if not answer.cut:
                return False
        return False


def _answers_all(body: bytes, asked: Question) -> bool:
    try:
        found = heard(decided([body], asked.decisions, 0.0).text, asked.decisions)
    except Passing:
        return False
    return found is not None and None not in found


def _sent(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in every request, if JSON can hold it."""
    try:
        json.dumps(told := dict(extra), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"extra is {extra!r}; it must be a mapping that JSON can hold ({error})") from None
    return told


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        is_address = False
    if not is_address:
        raise ScenarioError(f"base_url is an address such as http://127.0.0.1:8000/v1, not '{url}'")
    if parts.username or parts.password or parts.query:
        raise ScenarioError(f"base_url holds no user, password or query: a key belongs in {VARIABLE}")
    return url.rstrip("/")


def _whole(url: str | None) -> str:
    """Return the address that was told, or that of the environment where none was, or only the beginning of it."""
    there = os.environ.get("OPENAI_BASE_URL")
    if url is None or not is_cut(url):
        return url or there or "https://api.openai.com/v1"
    if there is None or without_secret_path(there) != url:
        raise ScenarioError(
            f"base_url is {url}: its path may hold a key, so what a run keeps leaves it out; set OPENAI_BASE_URL to the"
            " whole address"
        )
    return there
