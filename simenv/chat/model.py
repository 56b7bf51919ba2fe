"""The contract of a language model: what it is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A question that has few answers, each of which gets a probability."""

    name: str
    kind: Literal["predicate", "choice", "score"]
    text: str  # the question; of a predicate what may be true
    options: tuple[str, ...] = ()  # to choose from, or the levels of a score, lowest first; a predicate has none

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Return what it may come to."""
        return self.options or ("true", "false")


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked: a conversation, and the form of the answer.

    A model that takes typed decisions may answer these instead, with probabilities and nothing else; keep them as one
    object for many questions, since what is made of them is held by it.
    """

    kind: str  # such as 'page' or 'interview': answers are counted by it
    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = field(default=None, hash=False)  # JSON schema of the answer; None: plain text
    draw: int = 0  # tells draws of the same question apart; the same draw is the same answer
    most_tokens: int = 1024  # of the answer
    decisions: tuple[Decision, ...] = field(default=(), hash=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered, and what it took."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    cut: bool = False  # whether the answer ended at its limit rather than by itself


@runtime_checkable
class ChatModel(Protocol):
    """Answers questions, many at once."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return all that its answers follow from besides the question, as JSON holds it; no key, no host."""
        ...

    async def ask(self, question: Question) -> Answer:
        """Return the answer, or raise ChatError."""
        ...

    async def close(self) -> None:
        """Let go of connections and files; it can be asked again afterwards."""
        ...
