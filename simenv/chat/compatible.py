"""The compatible path to an endpoint: the openai client, for hosts that want more than plain HTTP."""

from typing import TYPE_CHECKING, Any

from simenv.errors import MissingExtra

from .endpoint import Endpoint, Reply
from .faults import Passing, Unreachable
from .model import Question
from .ways import Way

if TYPE_CHECKING:
    from openai import AsyncOpenAI


NEVER_SENT = ("ConnectError", "ConnectTimeout")  # of httpx or httpx2, by the version of the client


class Compatible(Endpoint["AsyncOpenAI"]):
    """A model behind an endpoint, asked by the openai client; the same answers as Direct, for ten times the CPU."""

    def _connect(self) -> "AsyncOpenAI":
        try:
            from openai import AsyncOpenAI
        except ImportError as error:
            raise MissingExtra("the compatible path to an endpoint", "llm") from error
        key = self._key.reveal() or "none"  # it insists on one
        # Whoever asks again stands around this, and asks the direct path again alike.
        return AsyncOpenAI(api_key=key, base_url=self.base_url, timeout=self.timeout, max_retries=0)

    async def _disconnect(self, client: "AsyncOpenAI") -> None:
        await client.close()

    async def _post(self, client: "AsyncOpenAI", question: Question, way: Way | None) -> Reply:
        fields = self._bodies.fields(question, way)
        messages: Any = fields.pop("messages")
        asked = client.chat.completions.with_raw_response
        return await self._exchange(asked.create(model=fields.pop("model"), messages=messages, extra_body=fields))

    async def _post_decisions(self, client: "AsyncOpenAI", question: Question, part: int) -> Reply:
        asked = getattr(client, "decisions", None)
        if asked is None:
            return Reply(501, {}, b"this version of openai takes no decisions; 3.52 does")
        return await self._exchange(asked.with_raw_response.create(**self._bodies.decision_fields(question)[part]))

    async def _list_models(self, client: "AsyncOpenAI") -> Reply:
        return await self._exchange(client.models.with_raw_response.list())

    async def _knock(self, client: "AsyncOpenAI") -> Reply:
        fields = self._bodies.nothing()
        asked = client.chat.completions.with_raw_response
        return await self._exchange(
            asked.create(model=fields.pop("model"), messages=fields.pop("messages"), extra_body=fields)
        )

    async def _exchange(self, call: Any) -> Reply:
        """Return what came back from a call that asks for the raw response."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        kind: type[Passing] = Passing
        try:
            raw = await call
            return Reply(raw.status_code, raw.headers, raw.content)
        except APIStatusError as error:
            return Reply(error.status_code, error.response.headers, error.response.content)
        except APITimeoutError:
            trouble = f"was silent for {self.timeout:g} seconds"
        except APIConnectionError as error:
            if type(error.__cause__).__name__ in NEVER_SENT:
                kind = Unreachable
            trouble = f"cannot be reached, or broke off ({type(error.__cause__).__name__}); is it running?"
        except OpenAIError as error:
            trouble = f"broke off ({type(error).__name__})"
        # Raised here and not above, where the chain would hold the request and its headers.
        raise self._trouble(trouble, kind)
