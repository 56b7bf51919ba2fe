"""Users of several kinds in one population: each user is dealt to a kind once and for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from simenv.arrays import BitArray, IntArray
from simenv.chance import key, mix, uniform
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.judgement import Judgement
from simenv.options import check_number
from simenv.pages import Page, Reaction
from simenv.population import Eager, Introducing, Judging, Population, Sessions, Telling, Thinking

MISSING: dict[str, object] = {"known": True, "readings": "", "verdicts": np.nan}  # None for the rest


@dataclass(frozen=True, slots=True)
class Member:
    """A kind of users, by its label, and how many of all they are beside the others."""

    label: str
    population: Population
    share: float = 1.0


class MixturePopulation:
    """Users of several kinds; who is of which depends on the seed and the user alone, so it is one in every policy.

    Shares count beside each other: 7 and 3 are 0.7 and 0.3. Every kind is fitted to all training rows.
    """

    def __init__(self, *, of: Sequence[Member], seed: int = 0) -> None:
        if not of:
            raise SimenvError("mixture: `of` names no populations; it takes some, such as [{name: choice, share: 0.7}]")
        for member in of:
            check_number(above=0, **{f"share of '{member.label}'": member.share})
            if isinstance(member.population, Introducing | Thinking):
                raise _refusal(member)
        self.of = tuple(of)
        self.seed = seed

    def fit(self, dataset: Dataset) -> None:
        """Fit every kind of users."""
        for member in self.of:
            member.population.fit(dataset)

    def kinds(self, users: IntArray) -> IntArray:
        """Return which member each user belongs to."""
        shares = np.cumsum([member.share for member in self.of])
        drawn = uniform(mix(key(self.seed, "mixture"), users)) * shares[-1]
        return np.minimum(np.searchsorted(shares, drawn, side="right"), len(self.of) - 1)

    def enter(self, users: IntArray, luck: BitArray) -> "Mixed":
        """Seat these users in this order."""
        return Mixed(self, users, luck)

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him."""
        wanted, ratings, expected = (np.empty(len(users)) for _ in range(3))
        for kind, rows in _groups(self.kinds(users)):
            member = self.of[kind]
            if not isinstance(member.population, Judging):
                raise SimenvError(f"mixture: the users of '{member.label}' cannot be asked about single items")
            found = member.population.judge(users[rows], items[rows], luck[rows])
            wanted[rows], ratings[rows], expected[rows] = found.wanted, found.ratings, found.expected
        return Judgement(wanted, ratings, expected)

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


class Mixed:
    """Sessions of users of several kinds; each seat stands for one among its user's own kind."""

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
        member = self.population.of[kind]
        sessions = member.population.enter(users[rows], luck[rows])
        if isinstance(sessions, Eager):
            raise _refusal(member)
        self.room[seats[rows]], self.place[seats[rows]] = len(self.rooms), np.arange(len(rows))
        self.rooms.append(sessions)

    def react(self, page: Page) -> Reaction:
        """Return what the users in `page.seats` do with the page."""
        found = []
        for room, rows in _groups(self.room[page.seats]):
            part = Page(
                page.users[rows],
                self.place[page.seats[rows]],
                page.number[rows],
                page.items[rows],
                None if page.propensities is None else page.propensities[rows],
            )
            found.append((rows, self.rooms[room].react(part)))
        return _together(found, page.items.shape)


def _groups(labels: IntArray) -> list[tuple[int, IntArray]]:
    """Return the rows of each label, in rising order."""
    return [(int(label), np.flatnonzero(labels == label)) for label in np.unique(labels)]


def _together(parts: Sequence[tuple[IntArray, Reaction]], shape: tuple[int, ...]) -> Reaction:
    """Return reactions to some rows of a page each as the reaction to the whole page."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts])) if parts else np.empty(0, dtype=np.int64)
    whole: dict[str, Any] = {}
    for field in fields(Reaction):
        values = [getattr(reaction, field.name) for _, reaction in parts]
        # These are there even where no kind in this batch gives them, or a user's part would depend on the others.
        if field.name not in ("known", "words") and all(value is None for value in values):
            whole[field.name] = None
            continue
        filled = [
            np.full((len(rows), *shape[1:]) if field.name == "known" else len(rows), MISSING.get(field.name))
            if value is None
            else np.asarray(value)
            for (rows, _), value in zip(parts, values, strict=True)
        ]
        whole[field.name] = np.concatenate(filled)[order]
    return Reaction(**whole)


def _refusal(member: Member) -> SimenvError:
    return SimenvError(
        f"mixture: the users of '{member.label}' answer each in his own time, as those of language models do; a mixture"
        " takes only populations that answer at once, such as choice, voters, truth and replay"
    )
