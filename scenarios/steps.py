"""How far a run or an evaluation has come, as whoever watches is told."""

from collections.abc import Callable
from dataclasses import dataclass

from simenv.training import clock


@dataclass(frozen=True, slots=True)
class Step:
    """How far a stage has come."""

    stage: str
    done: int
    total: int
    unit: str = "sessions"
    note: str = ""
    seconds_left: float | None = None  # None where nobody but a clock can tell

    @property
    def left(self) -> str:
        """The time left in words; '' where it is not known."""
        return "" if self.seconds_left is None else f"{clock(self.seconds_left)} left"


Watcher = Callable[[Step], None]
