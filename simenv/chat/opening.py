"""Models by what a scenario says of them, with all that stands around one: record, budget, retries."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from simenv.errors import MissingExtra, RunError, SimenvError
from simenv.options import complaint

from .budget import Budget, Budgeted, Prices
from .crowd import Crowd
from .faults import DeadEnd
from .model import ChatModel
from .record import Keys, Record, Recorded, UnderWay, answers_in
from .retries import Retried
from .scripted import Scripted
from .spending import Ledger

LOG = logging.getLogger(__name__)
EXAMPLES = {"budget": "tokens: 1000000", "prices": "tokens_in: 0.5, tokens_out: 1.5"}


@runtime_checkable
class Checked(Protocol):
    """A model that can be told to be there before it is asked anything."""

    async def check(self) -> None:
        """Raise DeadEnd where nobody answers, or the key is refused."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """Where answers are recorded; with `replay` they come from there alone, and a question without one is an error."""

    path: Path | None = None  # None: nowhere
    replay: bool = False
    goes_on: bool = False  # whether budgets begin with what is spent already: the run in that folder is resumed
    recorded: list[ChatModel] = field(default_factory=list)  # every model opened, without what stands around it
    under_way: UnderWay = field(default_factory=UnderWay)
    budgets: dict[object, Budget] = field(default_factory=dict)  # equal models with equal limits share one

    def check(self) -> None:
        """Say at once that an endpoint is not there or takes no key, or that nothing asks what is to be replayed.

        Where answers are on record already nobody else may be needed: trouble is then told to the log alone.
        """
        if self.replay:
            if not self.recorded:
                raise RunError(
                    "--replay takes the answers of language models from another run, and this scenario asks none:"
                    " its model is a scripted stand-in, or its users are no agents; leave --replay out"
                )
            return
        asked = [model for model in self.recorded if isinstance(model, Checked)]
        try:
            Crowd[int, None]().all((number, model.check()) for number, model in enumerate(asked))
        except DeadEnd as error:
            if not asked or self.path is None or not answers_in(self.path):
                raise
            LOG.warning("%s; going on with the answers on record in %s", error, self.path.name)


def open_model(told: str | Mapping[str, Any] | ChatModel, answers: Answers | None = None) -> ChatModel:
    """Return the model that is told of: 'scripted', or a mapping with a kind and its options."""
    if not isinstance(told, str | Mapping):
        if not isinstance(told, ChatModel):
            raise SimenvError(f"model is {told!r}; it must be a kind ({', '.join(KINDS)}), or a mapping with one")
        return told
    options: dict[str, Any] = {"kind": told} if isinstance(told, str) else dict(told)
    kind = options.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise SimenvError(f"model: no kind {kind!r}; there are {', '.join(KINDS)}")
    try:
        return KINDS[kind](answers, **options)
    except TypeError as error:
        raise SimenvError(f"model {kind}: {complaint(error)}") from error


def _scripted(answers: Answers | None, *, seed: int = 0) -> ChatModel:  # noqa: ARG001  (its rules are free)
    return Scripted(seed)


def _endpoint(
    answers: Answers | None,
    *,
    model: str,
    path: str = "direct",
    attempts: int = 6,
    budget: Mapping[str, Any] | None = None,
    prices: Mapping[str, Any] | None = None,
    **options: Any,
) -> ChatModel:
    """Return a model behind an OpenAI-compatible endpoint; `path` is 'direct', or 'compatible' by the openai client."""
    if path not in ("direct", "compatible"):
        raise SimenvError(f"model endpoint: no path {path!r}; there are direct and compatible")
    try:
        if path == "direct":
            from .direct import Direct as Kind
        else:
            from .compatible import Compatible as Kind  # type: ignore[assignment]
    except ModuleNotFoundError:
        raise MissingExtra("a model behind an endpoint", "llm") from None
    kind = Kind(model, **options)
    return _within(kind, Retried(kind, attempts), answers, budget, prices)


def _local(
    answers: Answers | None,
    *,
    path: str,
    budget: Mapping[str, Any] | None = None,
    prices: Mapping[str, Any] | None = None,
    **options: Any,
) -> ChatModel:
    """Return a model from a folder that transformers can load; asking it again would change nothing."""
    from .local import Local

    found = Local(path, **options)
    return _within(found, found, answers, budget, prices)


def _within(
    bare: ChatModel,
    model: ChatModel,
    answers: Answers | None,
    budget: Mapping[str, Any] | None,
    prices: Mapping[str, Any] | None,
) -> ChatModel:
    """Return a model within its budget, and its answers recorded."""
    for name, one in (("budget", budget), ("prices", prices)):
        if not isinstance(one, Mapping | None):
            raise SimenvError(f"{name} is {one!r}; it must be a mapping, such as {name}: {{{EXAMPLES[name]}}}")
    limits = Budget(**(budget or {}), prices=None if prices is None else Prices(**prices))  # refused where it is wrong
    if answers is None or answers.path is None:
        if answers is not None:
            answers.recorded.append(bare)
        return Budgeted(model, limits)
    record = Record(answers.path)
    mark = Keys(bare.settings).mark
    shared = mark, tuple(sorted((budget or {}).items())), tuple(sorted((prices or {}).items()))
    if shared not in answers.budgets:
        ledger = None if answers.replay else Ledger(Record(answers.path), mark)
        answers.budgets[shared] = Budget(**(budget or {}), prices=limits.prices, ledger=ledger, goes_on=answers.goes_on)
    answers.recorded.append(bare)
    return Recorded(Budgeted(model, answers.budgets[shared]), record, answers.replay, answers.under_way)


def open_embedding(
    answers: Answers | None,
    *,
    model: str,
    attempts: int = 6,
    budget: Mapping[str, Any] | None = None,
    prices: Mapping[str, Any] | None = None,
    **options: Any,
) -> ChatModel:
    """Return a model behind an endpoint that makes vectors of texts."""
    try:
        from .embedding import Embedding
    except ModuleNotFoundError:
        raise MissingExtra("the embeddings of an endpoint", "llm") from None
    bare = Embedding(model, **options)
    return _within(bare, Retried(bare, attempts), answers, budget, prices)


KINDS: dict[str, Callable[..., ChatModel]] = {"scripted": _scripted, "endpoint": _endpoint, "local": _local}
