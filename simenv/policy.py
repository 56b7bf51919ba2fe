"""The contract of a policy: whoever fills a page."""

from typing import Protocol, runtime_checkable

from .arrays import FloatArray, IntArray
from .context import Context
from .dataset import Dataset
from .pages import Page, Reaction


@runtime_checkable
class Policy(Protocol):
    """Fills a page."""

    def fit(self, dataset: Dataset) -> None:
        """Learn from the past; called once, before the first page."""
        ...

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return `k` items for each user [B, k], best first, none of them twice; EMPTY where none is left."""
        ...


@runtime_checkable
class Sourced(Protocol):
    """A policy that begins from what lies on disk, such as a checkpoint."""

    def check_sources(self) -> None:
        """Raise a `SimenvError` where that is missing; called once it is made, long before it is fitted."""
        ...


@runtime_checkable
class Observer(Protocol):
    """A policy that also wants to hear of each page's reactions, beyond what `Context` tells it."""

    def observe(self, page: Page, reaction: Reaction) -> None:
        """Take note of what a batch of users did with a page."""
        ...


@runtime_checkable
class Chancy(Protocol):
    """A policy that draws its pages and knows how likely they were."""

    def propensities(self, context: Context, items: IntArray) -> FloatArray:
        """Return how likely each item was to stand where it stands: [B, k]."""
        ...
