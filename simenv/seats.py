"""Seats before the page loop, each taken by one user after another: what both environments are made of."""

from collections.abc import Callable, Mapping

import numpy as np

from .arrays import FloatArray, GradeArray, IntArray
from .chance import key, mix
from .dataset import Dataset, grades_of
from .errors import SimenvError
from .eventlog import EventLog
from .loop import PageLoop
from .pages import EMPTY, Grade, Page, Reaction, Turn
from .population import Population

Reward = Callable[[Turn], FloatArray]
VISIT_KEY, SEED_KEY = key(0, "visit"), key(0, "visit's seed")
LOG_AFTER = 512  # finished sessions are written together


def likes(turn: Turn) -> FloatArray:
    """Return the number of items liked."""
    return (turn.reaction.grades == Grade.LIKED).sum(axis=1, dtype=np.float64)


def views(turn: Turn) -> FloatArray:
    """Return the number of items viewed or liked."""
    return (turn.reaction.grades >= Grade.VIEWED).sum(axis=1, dtype=np.float64)


def satisfaction(turn: Turn) -> FloatArray:
    """Return the satisfaction with the page, 0 to 1."""
    return (turn.reaction.satisfaction - 1) / 9.0


def stay(turn: Turn) -> FloatArray:
    """Return 1 for each page after which the user stays."""
    return 1.0 - turn.reaction.exits


REWARDS: Mapping[str, Reward] = {"likes": likes, "views": views, "satisfaction": satisfaction, "stay": stay}


def reward_of(reward: str | Reward) -> Reward:
    """Return the reward of this name, or a function of the turn as it is."""
    if callable(reward):
        return reward
    if reward not in REWARDS:
        raise SimenvError(f"no reward '{reward}'; there are {', '.join(REWARDS)}, or a function of the turn")
    return REWARDS[reward]


class Seats:
    """Seats users before the page loop, shows their pages, and keeps what an observer may see."""

    def __init__(
        self,
        dataset: Dataset,
        population: Population,
        *,
        page_size: int,
        max_pages: int,
        history: int,
        log: EventLog | None = None,
        policy: str = "agent",
    ) -> None:
        if history < 1:
            raise SimenvError(f"history is {history}; it must be at least 1")
        self.loop = PageLoop(dataset, population, page_size=page_size, max_pages=max_pages)
        self.dataset = dataset
        self.length = history
        self.visitors = np.flatnonzero(np.diff(dataset.starts) > 0).astype(np.int32)
        if not len(self.visitors):
            raise SimenvError(f"{dataset.name}: nobody has a history, so nobody can take a seat")
        self._past_grades = grades_of(dataset.interactions.ratings)
        self._recorder = None if log is None else Recorder(log, policy, dataset)

    def fill(self, seeds: IntArray, users: IntArray | None = None) -> None:
        """Seat somebody new in every seat; each seat's seed decides who comes, and their luck."""
        count = len(seeds)
        self.first_seeds = np.array(seeds, dtype=np.int64)
        self.visits = np.zeros(count, dtype=np.int64)
        self.seeds = self.first_seeds.copy()
        comers = self._comers(np.arange(count)) if users is None else users
        self.loop.enter(comers, self.seeds)
        self.history, self.grades = self._past(comers)

    def renew(self, seats: IntArray) -> None:
        """Seat the next user in these seats."""
        self.visits[seats] += 1
        fresh = mix(mix(SEED_KEY, self.first_seeds[seats]), self.visits[seats])
        self.seeds[seats] = (fresh >> np.uint64(33)).astype(np.int64)
        comers = self._comers(seats)
        self.loop.reseat(seats, comers, self.seeds[seats])
        # New arrays here and below, so that what was seen before stays as it was.
        self.history, self.grades = self.history.copy(), self.grades.copy()
        self.history[seats], self.grades[seats] = self._past(comers)

    def turn(self, items: IntArray, seats: IntArray | None = None) -> Turn:
        """Show the users in these seats (by default all) a page each."""
        turn = self.loop.turn(items, seats)
        shown, grades = turn.page.items, turn.reaction.grades
        if seats is None:
            self.history = np.concatenate((self.history, shown), axis=1)[:, -self.length :]
            self.grades = np.concatenate((self.grades, grades), axis=1)[:, -self.length :]
        else:
            self.history = self.history.copy()
            self.grades = self.grades.copy()
            self.history[seats] = np.concatenate((self.history[seats], shown), axis=1)[:, -self.length :]
            self.grades[seats] = np.concatenate((self.grades[seats], grades), axis=1)[:, -self.length :]
        if self._recorder is not None:
            self._recorder.add(turn, self.seeds[turn.page.seats])
        return turn

    def close(self) -> None:
        """Write the finished sessions that are not in the log yet."""
        if self._recorder is not None:
            self._recorder.flush()

    def _comers(self, seats: IntArray) -> IntArray:
        drawn = mix(mix(VISIT_KEY, self.first_seeds[seats]), self.visits[seats])
        return self.visitors[(drawn >> np.uint64(11)) % np.uint64(len(self.visitors))]

    def _past(self, users: IntArray) -> tuple[IntArray, GradeArray]:
        """Return the last items of each user's training history and their grades: [B, history]."""
        rows = self.dataset.starts[users + 1][:, None] - np.arange(self.length, 0, -1)
        known = rows >= self.dataset.starts[users][:, None]
        items = np.where(known, self.dataset.interactions.items[rows], EMPTY).astype(np.int32)
        return items, np.where(known, self._past_grades[rows], Grade.UNSEEN).astype(np.int8)


class Recorder:
    """Gathers turns until their sessions end, then hands them to the event log."""

    def __init__(self, log: EventLog, policy: str, dataset: Dataset) -> None:
        self.log = log
        self.policy = policy
        self.dataset = dataset
        self.open: dict[int, list[Turn]] = {}
        self.finished: dict[int, list[list[Turn]]] = {}

    def add(self, turn: Turn, seeds: IntArray) -> None:
        """Take note of a turn, user by user."""
        done = turn.reaction.exits | turn.truncated
        for row, seat in enumerate(turn.page.seats.tolist()):
            if turn.page.number[row] == 0:
                self.open[seat] = []  # a session that was broken off is forgotten
            self.open.setdefault(seat, []).append(_row(turn, row))
            if done[row]:
                self.finished.setdefault(int(seeds[row]), []).append(self.open.pop(seat))
        if sum(map(len, self.finished.values())) >= LOG_AFTER:
            self.flush()

    def flush(self) -> None:
        """Write the finished sessions."""
        for seed, sessions in self.finished.items():
            self.log.write(self.policy, seed, self.dataset, [turn for turns in sessions for turn in turns])
        self.finished = {}


def _row(turn: Turn, row: int) -> Turn:
    page, reaction, here = turn.page, turn.reaction, slice(row, row + 1)
    return Turn(
        Page(
            page.users[here],
            page.seats[here],
            page.number[here],
            page.items[here],
            None if page.propensities is None else page.propensities[here],
        ),
        Reaction(
            reaction.grades[here],
            reaction.ratings[here],
            reaction.satisfaction[here],
            reaction.exits[here],
            reaction.causes[here],
            None if reaction.known is None else reaction.known[here],
            None if reaction.words is None else list(reaction.words)[here],
        ),
        turn.repeated[here],
        turn.truncated[here],
    )
