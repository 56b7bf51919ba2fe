"""Vectors of texts from an OpenAI-compatible endpoint, by the same door as its chat: recorded, budgeted, retried."""

import binascii
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import numpy as np

from simenv.errors import ScenarioError

from .budget import bytes_of
from .direct import Direct
from .endpoint import Reply
from .faults import Passing
from .model import Answer, Question
from .replies import complaint, tokens
from .vectors import KIND, packed, unpacked


class Embedding(Direct):
    """A model that makes vectors; it is asked one text at a time, so that a record knows each by itself."""

    offers = "embeddings"

    def __init__(
        self, model: str, base_url: str | None = None, *, dimensions: int | None = None, **options: Any
    ) -> None:
        wrong = set(options) - {"slots", "timeout"}
        if wrong:
            raise ScenarioError(f"an embedding takes model, base_url, dimensions, slots and timeout, not {min(wrong)}")
        super().__init__(model, base_url, **options)
        self.dimensions = dimensions

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what vectors follow from."""
        return {"kind": KIND, "model": self.model, "dimensions": self.dimensions}

    @property
    def most_probes(self) -> int:
        """One, to find out that it is there."""
        return 1

    async def _knock(self, client: aiohttp.ClientSession) -> Reply:
        return await self._exchange(client, "POST", "/embeddings", self._body(""))

    async def ask(self, question: Question) -> Answer:
        """Return the vector of a text, packed."""
        line = self._line()
        body = self._body(question.messages[0].text)
        reply, seconds = await self._send(
            line, question, bytes_of(question), lambda: self._exchange(line.client, "POST", "/embeddings", body)
        )
        if reply.status != 200:
            raise await self._fault(line, reply, self.offers)
        return _answer(self._key.hide(reply.body), seconds)

    def _body(self, text: str) -> bytes:
        told: dict[str, Any] = {"model": self.model, "input": text, "encoding_format": "float"}
        return json.dumps(told if self.dimensions is None else told | {"dimensions": self.dimensions}).encode()


def _answer(body: bytes, seconds: float) -> Answer:
    try:
        reply = json.loads(body)
        told = reply["data"][0]["embedding"]
        vector = unpacked(told) if isinstance(told, str) else np.array(told, dtype=np.float32)
        length = float(np.linalg.norm(vector))
        if vector.ndim == 1 and len(vector) and np.isfinite(length) and length:
            return Answer(
                packed(vector / np.float32(length)), tokens(reply.get("usage") or {}, "prompt_tokens"), 0, seconds
            )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, binascii.Error):
        pass  # raised below, where no chain holds the body
    raise Passing(f"the endpoint answered with no vector: {complaint(body)}")
