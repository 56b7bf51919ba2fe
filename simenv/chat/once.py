"""What is made of the same few objects over and over, made once."""

from collections.abc import Callable
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Made = TypeVar("Made")
MOST = 256  # held at once; a run has some ten schemas


class Once(Generic[Thing, Made]):
    """Makes something of an object the first time; objects are known by identity, which is cheaper than equality."""

    def __init__(self, make: Callable[[Thing], Made]) -> None:
        self._make = make
        self._held: dict[int, tuple[Thing, Made]] = {}  # with the object, so that no other bears its id

    def __call__(self, thing: Thing) -> Made:
        """Return what is made of it."""
        held = self._held.get(id(thing))
        if held is None:
            if len(self._held) >= MOST:
                self._held.clear()
            held = self._held[id(thing)] = (thing, self._make(thing))
        return held[1]
