"""Users of several kinds in one population: each user is dealt to a kind once and for all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import BitArray, IntArray
from simenv.chance import key, mix, uniform
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.judgement import Judgement
from simenv.options import check_number
from simenv.pages import Page, Reaction
from simenv.population import (
    AnsweredBy,
    Closing,
    Eager,
    Introducing,
    Population,
    Sessions,
    Telling,
    Thinking,
    answered_by_any,
    judging,
)
from simenv.store import Arrays, savable

MISSING: dict[str, object] = {"known": True, "verdicts": np.nan}  # None for the rest
LISTS = ("words", "remembered", "asked")
ALWAYS = ("known", "words")  # what a mixture gives, whether or not a kind does
IN_WORDS = (*ALWAYS, "readings", "remembered", "verdicts", "asked")  # the same, where some answer in words


@dataclass(frozen=True, slots=True)
class Member:
    """A kind of users, by its label, and how many of all they are beside the others."""

    label: str
    population: Population
    share: float = 1.0


class MixturePopulation:
    """Users of several kinds; who is of which depends on the seed and the user alone, so it is one in every policy.

    Shares count beside each other: 7 and 3 are 0.7 and 0.3. Every kind is fitted to all training rows. With agents
    among them it is a `TalkingMixture`.
    """

    def __new__(cls, *, of: Sequence[Member], seed: int = 0) -> "MixturePopulation":  # noqa: ARG004
        """Make a mixture, or one that talks."""
        talks = any(isinstance(member.population, Introducing | Thinking) for member in of)
        return super().__new__(TalkingMixture if talks else cls)

    def __init__(self, *, of: Sequence[Member], seed: int = 0) -> None:
        if not of:
            raise SimenvError("mixture: `of` names no populations; it takes some, such as [{name: choice, share: 0.7}]")
        for member in of:
            check_number(above=0, **{f"share of '{member.label}'": member.share})
        self.of = tuple(of)
        self.seed = seed

    def fit(self, dataset: Dataset) -> None:
        """Fit every kind of users."""
        for member in self.of:
            member.population.fit(dataset)

    def state(self) -> Arrays:
        """Return what every kind of users learnt."""
        states = [savable(member.population, member.label).state() for member in self.of]
        return {f"{place}.{name}": array for place, state in enumerate(states) for name, array in state.items()}

    def restore(self, arrays: Arrays) -> None:
        """Be as the population was whose state this is."""
        for place, member in enumerate(self.of):
            begin = f"{place}."
            own = {name.removeprefix(begin): array for name, array in arrays.items() if name.startswith(begin)}
            savable(member.population, member.label).restore(own)

    def kinds(self, users: IntArray) -> IntArray:
        """Return which member each user belongs to."""
        shares = np.cumsum([member.share for member in self.of])
        drawn = uniform(mix(key(self.seed, "mixture"), users)) * shares[-1]
        return np.minimum(np.searchsorted(shares, drawn, side="right"), len(self.of) - 1)

    def enter(self, users: IntArray, luck: BitArray) -> "Mixed":
        """Seat these users in this order."""
        return Mixed(self, users, luck)

    @property
    def able_to_judge(self) -> bool:
        """Whether users of every kind say of single items what they would do with them."""
        return all(judging(member.population) is not None for member in self.of)

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him."""
        wanted, ratings, expected = (np.empty(len(users)) for _ in range(3))
        for kind, rows in _groups(self.kinds(users)):
            population = judging(self.of[kind].population)
            if population is None:
                raise SimenvError(f"mixture: the users of '{self.of[kind].label}' cannot be asked about single items")
            found = population.judge(users[rows], items[rows], luck[rows])
            wanted[rows], ratings[rows], expected[rows] = found.wanted, found.ratings, found.expected
        return Judgement(wanted, ratings, expected)

    @property
    def answered_by(self) -> AnsweredBy:
        """What the reactions of any kind come from."""
        return answered_by_any(member.population for member in self.of)

    def facts(self) -> Mapping[str, Any]:
        """Return who is in it."""
        total = sum(member.share for member in self.of)
        parts = [f"{100 * member.share / total:.0f} % {member.label}" for member in self.of]
        told = {
            member.label: dict(member.population.facts())
            for member in self.of
            if isinstance(member.population, Telling)
        }
        return {"about": f"users of several kinds: {', '.join(parts)}"} | ({"members": told} if told else {})


class TalkingMixture(MixturePopulation):
    """A mixture with agents among its users: they introduce themselves, and each answers in his own time."""

    @property
    def most_failed(self) -> float:
        """The share of answers that may fail: the least that an agent's kind allows."""
        return min((getattr(member.population, "most_failed", 1.0) for member in self.of), default=1.0)

    @property
    def ways(self) -> list[str]:
        """How models were asked for the form of their answers."""
        found = [way for member in self.of for way in getattr(member.population, "ways", [])]
        return list(dict.fromkeys(found))

    def enter(self, users: IntArray, luck: BitArray) -> "EagerlyMixed":
        """Seat these users in this order."""
        return EagerlyMixed(self, users, luck)

    def introduce(self, users: Sequence[int], known: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """Make those of these users who are agents ready to enter, and return who they are, each with his kind."""
        kinds = self.kinds(np.asarray(users, dtype=np.int64))
        told: dict[int, dict[str, Any]] = {}
        for kind, member in enumerate(self.of):
            if not isinstance(member.population, Introducing):
                continue
            mine = [user for user, his in zip(users, kinds.tolist(), strict=True) if his == kind]
            theirs = [one for one in known if one.get("kind", member.label) == member.label]
            found = member.population.introduce(mine, theirs)
            told |= {user: {**one, "kind": member.label} for user, one in zip(mine, found, strict=True)}
        return [told[user] for user in users if user in told]

    def think_over(self, events: pa.Table) -> list[dict[str, Any]]:
        """Return what is said of items after the sessions, by the agents of each kind of what these did."""
        rows: list[dict[str, Any]] = []
        for kind, member in enumerate(self.of):
            if not isinstance(member.population, Thinking):
                continue
            mine = np.flatnonzero(self.kinds(np.arange(len(self._ids))) == kind)
            his = pa.array(self._ids[mine], events.schema.field("user_id").type)
            found = member.population.think_over(events.filter(pc.is_in(events["user_id"], value_set=his)))
            rows += [{**row, "kind": member.label} for row in found]
        return rows

    def state(self) -> Arrays:
        """Refuse to be kept: agents are made anew for every run."""
        raise SimenvError("a mixture with agents among its users is not kept")

    def fit(self, dataset: Dataset) -> None:
        """Fit every kind of users."""
        super().fit(dataset)
        self._ids = np.asarray(dataset.users.ids)

    def facts(self) -> Mapping[str, Any]:
        """Return who is in it, and how many of their answers may fail."""
        return {**super().facts(), "most_failed": self.most_failed}

    def close(self) -> None:
        """Let go of what any kind holds."""
        for member in self.of:
            if isinstance(member.population, Closing):
                member.population.close()


class Mixed:
    """Sessions of users of several kinds; each seat stands for one among its user's own kind."""

    given: tuple[str, ...] = ALWAYS

    def __init__(self, population: MixturePopulation, users: IntArray, luck: BitArray) -> None:
        self.population = population
        self.rooms: list[Sessions] = []
        self.free: list[list[tuple[int, int]]] = [[] for _ in population.of]  # by kind: rooms and places left
        self.kinds = np.full(len(users), -1)  # of whoever sits there
        self.room = np.zeros(len(users), dtype=np.int64)
        self.place = np.zeros(len(users), dtype=np.int64)
        self.reseat(np.arange(len(users)), users, luck)

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Let these users begin a session in seats that others have left."""
        for seat in seats.tolist():
            if self.kinds[seat] >= 0:
                self.free[self.kinds[seat]].append((int(self.room[seat]), int(self.place[seat])))
        self.kinds[seats] = self.population.kinds(users)
        for kind, rows in _groups(self.kinds[seats]):
            again = rows[: len(self.free[kind])]
            for row in again.tolist():
                self.room[seats[row]], self.place[seats[row]] = self.free[kind].pop()
            for room, some in _groups(self.room[seats[again]]):
                chosen = again[some]
                self.rooms[room].reseat(self.place[seats[chosen]], users[chosen], luck[chosen])
            self._open(kind, seats, rows[len(again) :], users, luck)

    def _open(self, kind: int, seats: IntArray, rows: IntArray, users: IntArray, luck: BitArray) -> None:
        """Seat users for whom their kind has no place left."""
        if not len(rows):
            return
        sessions = self.population.of[kind].population.enter(users[rows], luck[rows])
        self.room[seats[rows]], self.place[seats[rows]] = len(self.rooms), np.arange(len(rows))
        self.rooms.append(sessions)

    def react(self, page: Page) -> Reaction:
        """Return what the users in `page.seats` do with the page."""
        found = [(rows, self.rooms[room].react(part)) for room, rows, part in self._parts(page)]
        return _together(found, page.items.shape, self.given)

    def _parts(self, page: Page) -> Iterator[tuple[int, IntArray, Page]]:
        """Yield, by room, the rows of a page that are shown there, and these as the room knows them."""
        for room, rows in _groups(self.room[page.seats]):
            yield room, rows, replace(_only(page, rows), seats=self.place[page.seats[rows]])


class EagerlyMixed(Mixed):
    """Sessions in which some answer at once, and others each in his own time."""

    given = IN_WORDS

    def __init__(self, population: MixturePopulation, users: IntArray, luck: BitArray) -> None:
        self._answered: list[tuple[Page, Reaction]] = []
        self._waited_for: dict[int, dict[int, int]] = {}  # by room, the seat of each place that has not answered
        super().__init__(population, users, luck)

    def begin(self, page: Page) -> None:
        """Show the users in `page.seats` the page; those who answer at once have answered."""
        for room, rows, part in self._parts(page):
            sessions = self.rooms[room]
            if isinstance(sessions, Eager):
                sessions.begin(part)
                seats = zip(part.seats.tolist(), page.seats[rows].tolist(), strict=True)
                self._waited_for.setdefault(room, {}).update(seats)
            else:
                self._answered.append((_only(page, rows), sessions.react(part)))

    def collect(self) -> tuple[Page, Reaction]:
        """Return what those did who have answered; where nobody has, wait in one room, and next time in another."""
        if not self._answered:
            room = next(iter(self._waited_for))
            sessions, seats = self.rooms[room], self._waited_for.pop(room)
            assert isinstance(sessions, Eager)
            part, reaction = sessions.collect()
            here = [seats.pop(place) for place in part.seats.tolist()]
            if seats:
                self._waited_for[room] = seats  # at the end
            self._answered.append((replace(part, seats=np.array(here)), reaction))
        pages, reactions = zip(*self._answered, strict=True)
        self._answered = []
        ends = np.cumsum([len(page.seats) for page in pages])
        rows = np.split(np.arange(ends[-1]), ends[:-1])
        whole = _joined(pages)
        return whole, _together(list(zip(rows, reactions, strict=True)), whole.items.shape, self.given)


def _only(page: Page, rows: IntArray) -> Page:
    chances = None if page.propensities is None else page.propensities[rows]
    return Page(page.users[rows], page.seats[rows], page.number[rows], page.items[rows], chances)


def _joined(pages: Sequence[Page]) -> Page:
    chances = [page.propensities for page in pages if page.propensities is not None]
    return Page(
        np.concatenate([page.users for page in pages]),
        np.concatenate([page.seats for page in pages]),
        np.concatenate([page.number for page in pages]),
        np.concatenate([page.items for page in pages]),
        np.concatenate(chances) if len(chances) == len(pages) else None,
    )


def _groups(labels: IntArray) -> list[tuple[int, IntArray]]:
    """Return the rows of each label, in rising order."""
    return [(int(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]


def _together(parts: Sequence[tuple[IntArray, Reaction]], shape: tuple[int, ...], given: Sequence[str]) -> Reaction:
    """Return reactions to some rows of a page each as the reaction to the whole page.

    What is `given` is there even where no kind in this batch gives it, or a user's part would depend on the others.
    """
    order = np.argsort(np.concatenate([rows for rows, _ in parts])) if parts else np.empty(0, dtype=np.int64)
    whole: dict[str, Any] = {}
    for field in fields(Reaction):
        values = [getattr(reaction, field.name) for _, reaction in parts]
        if field.name not in given and all(value is None for value in values):
            whole[field.name] = None
            continue
        filled = [
            np.full((len(rows), *shape[1:]) if field.name == "known" else len(rows), MISSING.get(field.name))
            if value is None
            else np.asarray(value, dtype=object if isinstance(value, list) else None)
            for (rows, _), value in zip(parts, values, strict=True)
        ]
        joined = np.concatenate(filled)[order]
        whole[field.name] = joined.tolist() if field.name in LISTS else joined
    return Reaction(**whole)
