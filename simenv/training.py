"""Long learning: watched, stopped early, interrupted and gone on with."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from .dataset import Dataset
from .interactions import Interactions

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Epoch:
    """How far the learning has come."""

    done: int  # epochs
    total: int
    loss: float  # the mean of the last epoch
    score: float | None  # on validation rows, where they were asked last; None before
    seconds_left: float  # if it goes on as it went, and is not stopped early

    def __str__(self) -> str:
        scored = "" if self.score is None else f", NDCG@10 on validation {self.score:.4f}"
        return f"epoch {self.done} of {self.total}, loss {self.loss:.4g}{scored}, {clock(self.seconds_left)} left"


@dataclass(frozen=True)
class Training:
    """What surrounds a policy while it learns: all of it may be left out."""

    valid: Interactions | None = None  # held-out rows that tell when to stop
    watch: Callable[[Epoch], None] = field(default=lambda _: None)
    folder: Path | None = None  # where the learning is kept, so that it can go on after a stop


@runtime_checkable
class Trainable(Protocol):
    """A policy that learns by epochs, beyond what `Policy` asks."""

    def train(self, dataset: Dataset, training: Training) -> None:
        """Learn as `fit` would, or go on with what was kept in the training's folder."""
        ...


class Clock:
    """Tells how long the rest takes, and when something is due again."""

    def __init__(self) -> None:
        self._begin = self._last = time.perf_counter()

    def left(self, done: int, total: int) -> float:
        """Return the seconds for the rest if it goes on as it went."""
        return (time.perf_counter() - self._begin) / max(done, 1) * (total - done)

    def is_due(self, seconds: float) -> bool:
        """Tell whether so much time has passed since it last was."""
        due = time.perf_counter() - self._last >= seconds
        if due:
            self._last = time.perf_counter()
        return due


def clock(seconds: float) -> str:
    """Return a time in words: 42 s, 3:07 min, 1:02 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"
