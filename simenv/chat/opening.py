"""Models by what a scenario says of them."""

from collections.abc import Mapping
from typing import Any

from simenv.errors import SimenvError

from .model import ChatModel
from .scripted import Scripted

KINDS = {"scripted": Scripted}


def open_model(told: str | Mapping[str, Any] | ChatModel) -> ChatModel:
    """Return the model that is told of: 'scripted', or a mapping with a kind and its options."""
    if isinstance(told, ChatModel):
        return told
    options = {"kind": told} if isinstance(told, str) else dict(told)
    kind = options.pop("kind", None)
    if kind not in KINDS:
        raise SimenvError(f"model: no kind {kind!r}; there are {', '.join(KINDS)}")
    try:
        return KINDS[kind](**options)
    except TypeError as error:
        raise SimenvError(f"model {kind}: {error}") from None
