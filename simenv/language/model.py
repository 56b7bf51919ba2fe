"""What whoever decodes asks of a causal language model: ours, or any other behind an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class CausalModel(Protocol):
    """Reads tokens in their order; tells at each place how likely each token comes next.

    A past is the model's own: it has a `length`, of the tokens read so far, and set to less it forgets the last of
    them.
    """

    @property
    def vocabulary(self) -> int:
        """Return how many tokens it knows."""
        ...

    def forward(
        self, tokens: Tensor, *, positions: Tensor | None = None, mask: Tensor | None = None, past: Any = None
    ) -> Tensor:
        """Return what is known at each place [B, L, D] of some tokens [B, L].

        Each sees itself and those before it, unless a `mask` [B, 1, L, past and L] says what it sees (true) or not;
        `positions` [B, L] count from 0, unless told. A `past` is read as if it stood before, and grows.
        """
        ...

    def past(self, rows: int, room: int) -> Any:
        """Return an empty past for so many rows, of so many tokens at most."""
        ...

    def scores(self, found: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Return the scores [..., V] of the next token from what is known; of some tokens alone if told which."""
        ...


@contextmanager
def at_rest(model: Any) -> Iterator[None]:
    """Let a model leave nothing to chance for a while, then let each part be taught again that was."""
    taught = [part for part in model.modules() if part.training] if hasattr(model, "modules") else []
    for part in taught:
        part.training = False
    try:
        yield
    finally:
        for part in taught:
            part.training = True
