"""The contract of a population: whoever reacts to a page."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import pyarrow as pa

from .arrays import BitArray, IntArray
from .dataset import Dataset
from .judgement import Judgement
from .pages import Page, Reaction


class Sessions(Protocol):
    """The users who entered together; each has a seat, counted from 0."""

    def react(self, page: Page) -> Reaction:
        """Return what the users in `page.seats` do with the page."""
        ...

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Let these users begin a session in seats that others have left."""
        ...


@runtime_checkable
class Eager(Sessions, Protocol):
    """Sessions whose users answer one by one, each when he is ready: nobody need wait for the slowest."""

    def begin(self, page: Page) -> None:
        """Show the users in `page.seats` the page; a user is shown no other before he has answered."""
        ...

    def collect(self) -> tuple[Page, Reaction]:
        """Return the rows of pages begun that have been answered since, at least one; wait for it if need be."""
        ...


@runtime_checkable
class Population(Protocol):
    """Reacts to pages. One fitted population serves any number of sessions at once."""

    def fit(self, dataset: Dataset) -> None:
        """Learn who the users are, from training rows only; called once, before anybody enters."""
        ...

    def enter(self, users: IntArray, luck: BitArray) -> Sessions:
        """Seat these users in this order, each at the start of a session.

        `luck` is each one's bits for (seed, user): all chance must come from them by `chance.mix`, so that
        a reaction depends neither on the batch nor on the order of the answers.
        """
        ...


@runtime_checkable
class Closing(Protocol):
    """A population that holds connections or files."""

    def close(self) -> None:
        """Let go of them; it can be asked again afterwards."""
        ...


@runtime_checkable
class Judging(Protocol):
    """A population whose users say of single items what they would do with them.

    One made of others tells by `able_to_judge` whether all of them do.
    """

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him; `luck` is each pair's bits for all that is drawn."""
        ...


def judging(population: object) -> Judging | None:
    """Return a population whose users judge items, as that; None for others, and where a kind in a mixture does not."""
    able = getattr(population, "able_to_judge", True)
    return population if able and isinstance(population, Judging) else None


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """What the reactions of a population come from, where it matters to whoever runs it or reads its figures."""

    a_model: bool = False  # answers are asked of a language model: they may cost, and are asked no oftener than told
    scripted: Literal["none", "some", "all"] = "none"  # how many users a stand-in by rules plays in a model's place
    held_out: bool = False  # the held-out rows themselves, so that nobody can be held against them

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


@runtime_checkable
class Declaring(Protocol):
    """A population that declares what its reactions come from; one that does not is taken for plain code."""

    @property
    def answered_by(self) -> AnsweredBy:
        """Return that; it is asked before the population is fitted."""
        ...


def answered_by(population: object) -> AnsweredBy:
    """Return what a population's reactions come from: as declared, or the held-out rows it is made of."""
    if isinstance(population, Declaring):
        return population.answered_by
    with suppress(TypeError, ValueError):
        return AnsweredBy(held_out="held_out" in inspect.signature(type(population)).parameters)
    return AnsweredBy()


def answered_by_any(members: Iterable[object]) -> AnsweredBy:
    """Return what the reactions of several populations together come from."""
    each = [answered_by(one) for one in members]
    scripted = {one.scripted for one in each}
    return AnsweredBy(
        a_model=any(one.a_model for one in each),
        scripted=scripted.pop() if len(scripted) == 1 else "some",
        held_out=any(one.held_out for one in each),
    )


@runtime_checkable
class Calibrated(Protocol):
    """A population that says by whose ratings it set the levels that all users' ratings fall to.

    How often its users give each rating is then held against the real ratings of the others alone.
    """

    @property
    def level_users(self) -> IntArray:
        """Return these users, by their place in the data set; of a fitted population."""
        ...


@runtime_checkable
class Introducing(Protocol):
    """A population whose users have something to tell of themselves."""

    def introduce(self, users: Sequence[int], known: Sequence[Mapping[str, Any]] = ()) -> Sequence[Mapping[str, Any]]:
        """Make these users ready to enter; return who they are, as JSON holds it. Those `known` stay who they were."""
        ...


@runtime_checkable
class Thinking(Protocol):
    """A population in which something is thought over once all sessions have ended."""

    def think_over(self, events: pa.Table) -> Sequence[Mapping[str, Any]]:
        """Return what is said of items after these sessions, as JSON holds it; no row where nothing is."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A population that tells more of itself than its options do."""

    def facts(self) -> Mapping[str, Any]:
        """Return what its reactions follow from besides, as JSON holds it; `about` is a phrase for reports."""
        ...
