"""Seats before the page loop, each taken by one user after another: what both environments are made of."""

import logging
from collections.abc import Callable, Mapping
from typing import TypedDict

import numba
import numpy as np

from .arrays import FloatArray, GradeArray, IntArray
from .chance import key, mix_one
from .dataset import Dataset, grades_of
from .errors import PageError, SimenvError
from .eventlog import EventLog
from .loop import PageLoop
from .pages import EMPTY, Grade, Page, Reaction, Turn
from .population import Population

LOG = logging.getLogger(__name__)
Reward = Callable[[Turn], FloatArray]
VISIT_KEY, SEED_KEY = key(0, "visit"), key(0, "visit's seed")
LIKED, VIEWED = int(Grade.LIKED), int(Grade.VIEWED)
LOG_AFTER = 512  # finished sessions are written together


def likes(turn: Turn) -> FloatArray:
    """Return the number of items liked."""
    return np.add.reduce(turn.reaction.grades == LIKED, axis=1, dtype=np.float64)


def views(turn: Turn) -> FloatArray:
    """Return the number of items viewed or liked."""
    return np.add.reduce(turn.reaction.grades >= VIEWED, axis=1, dtype=np.float64)


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


class Seating(TypedDict, total=False):
    """How users are seated, for either environment; `set_seats` tells what holds unless told."""

    page_size: int
    max_pages: int
    history: int  # how many items an observation remembers
    leave_out_past: bool  # whether items of the training history must not be shown
    leave_out_shown: bool  # whether items of the session must not be shown again
    log: EventLog | None  # where finished sessions are written
    policy: str  # whose they are, in the log


def set_seats(
    dataset: Dataset,
    population: Population,
    *,
    page_size: int = 10,
    max_pages: int = 20,
    history: int = 50,
    leave_out_past: bool = True,
    leave_out_shown: bool = True,
    log: EventLog | None = None,
    policy: str = "agent",
) -> "Seats":
    """Return empty seats before a page loop of their own."""
    loop = PageLoop(
        dataset,
        population,
        page_size=page_size,
        max_pages=max_pages,
        leave_out_past=leave_out_past,
        leave_out_shown=leave_out_shown,
    )
    return Seats(loop, history=history, log=log, policy=policy)


class Seats:
    """Seats users before the page loop, shows their pages, and keeps what an observer may see."""

    def __init__(self, loop: PageLoop, *, history: int, log: EventLog | None, policy: str) -> None:
        if history < 1:
            raise SimenvError(f"history is {history}; it must be at least 1")
        self.loop = loop
        self.dataset = dataset = loop.dataset
        self.length = history
        self.begun = False  # whether anybody has taken a seat yet
        self.visitors = np.flatnonzero(np.diff(dataset.starts) > 0).astype(np.int32)
        if not len(self.visitors):
            raise SimenvError(f"{dataset.name}: nobody has a history, so nobody can take a seat")
        self._past_grades = grades_of(dataset.interactions.ratings)
        self._recorder = None if log is None else Recorder(log, policy, dataset)

    def fill(self, seeds: IntArray, users: IntArray | None = None) -> None:
        """Seat somebody new in every seat; each seat's seed decides who comes, and their luck."""
        count = len(seeds)
        self.begun = True
        self.first_seeds = np.array(seeds, dtype=np.int64)
        self.visits = np.full(count, -1, dtype=np.int64)
        self.seeds = np.empty(count, dtype=np.int64)
        drawn = _next_visits(np.arange(count), self.first_seeds, self.visits, self.seeds, self.visitors)
        comers = drawn if users is None else users
        self.loop.enter(comers, self.seeds)
        self.history, self.grades = self._past(comers)

    def renew(self, seats: IntArray, seeds: IntArray | None = None) -> None:
        """Seat the next user in these seats, or the first of these seeds."""
        if not self.begun:
            raise PageError("nobody has a seat yet; call reset() without a mask first")
        if seeds is not None:
            self.first_seeds[seats] = seeds
            self.visits[seats] = -1
        comers = _next_visits(seats, self.first_seeds, self.visits, self.seeds, self.visitors)
        self.loop.reseat(seats, comers, self.seeds[seats])
        # New arrays here and below, so that what was seen before stays as it was.
        self.history, self.grades = self.history.copy(), self.grades.copy()
        self.history[seats], self.grades[seats] = self._past(comers)

    def turn(self, items: IntArray, seats: IntArray | None = None) -> Turn:
        """Show the users in these seats (by default all) a page each."""
        turn = self.loop.turn(items, seats)
        shown, grades = turn.page.items, turn.reaction.grades
        self.history = _moved_on(self.history, turn.page.seats, shown)
        self.grades = _moved_on(self.grades, turn.page.seats, grades)
        if self._recorder is not None:
            self._recorder.add(turn, self.seeds[turn.page.seats])
        return turn

    def close(self) -> None:
        """Write the finished sessions that are not in the log yet."""
        if self._recorder is not None:
            self._recorder.flush()

    def _past(self, users: IntArray) -> tuple[IntArray, GradeArray]:
        """Return the last items of each user's training history and their grades: [B, history]."""
        items = np.empty((len(users), self.length), dtype=np.int32)
        grades = np.empty((len(users), self.length), dtype=np.int8)
        _tails(users, self.dataset.starts, self.dataset.interactions.items, self._past_grades, items, grades)
        return items, grades


@numba.njit(cache=True)
def _next_visits(seats, first_seeds, visits, seeds, visitors):  # type: ignore[no-untyped-def]
    """Draw who comes next to each seat, and the seed of the visit; the first visit's is the seat's own."""
    comers = np.empty(len(seats), dtype=np.int32)
    for place, seat in enumerate(seats):
        visits[seat] += 1
        visit, first = visits[seat], first_seeds[seat]
        who = mix_one(mix_one(VISIT_KEY, first), visit) >> np.uint64(11)
        comers[place] = visitors[who % np.uint64(len(visitors))]
        fresh = mix_one(mix_one(SEED_KEY, first), visit) >> np.uint64(33)
        seeds[seat] = first if visit == 0 else np.int64(fresh)
    return comers


@numba.njit(cache=True)
def _moved_on(past, seats, news):  # type: ignore[no-untyped-def]
    """Return a copy in which these seats' rows end with the news."""
    length = past.shape[1]
    added = min(length, news.shape[1])
    moved = past.copy()
    for place, seat in enumerate(seats):
        moved[seat, : length - added] = past[seat, added:]
        moved[seat, length - added :] = news[place, news.shape[1] - added :]
    return moved


@numba.njit(cache=True)
def _tails(users, starts, log_items, log_grades, items, grades):  # type: ignore[no-untyped-def]
    """Write the last rows of each user's history at the end of items and grades, which may be longer."""
    length = items.shape[1]
    for place, user in enumerate(users):
        begin = max(starts[user], starts[user + 1] - length)
        known = starts[user + 1] - begin
        items[place, : length - known] = EMPTY
        grades[place, : length - known] = 0
        items[place, length - known :] = log_items[begin : begin + known]
        grades[place, length - known :] = log_grades[begin : begin + known]


class Recorder:
    """Gathers turns until their sessions end, then hands them to the event log.

    A log holds a user's session under a seed once: the first stands, whoever plays it again.
    """

    def __init__(self, log: EventLog, policy: str, dataset: Dataset) -> None:
        self.log = log
        self.policy = policy
        self.dataset = dataset
        self.open: dict[int, list[Turn]] = {}
        self.finished: dict[int, list[Turn]] = {}
        self.waiting = 0  # finished sessions that are not in the log yet
        self.known = log.sessions(policy)

    def add(self, turn: Turn, seeds: IntArray) -> None:
        """Take note of a turn, user by user."""
        done = turn.reaction.exits | turn.truncated
        for row, seat in enumerate(turn.page.seats.tolist()):
            if turn.page.number[row] == 0:
                self.open[seat] = []  # a session that was broken off is forgotten
            self.open.setdefault(seat, []).append(_row(turn, row))
            if done[row]:
                self._finish(int(seeds[row]), int(turn.page.users[row]), self.open.pop(seat))
        if self.waiting >= LOG_AFTER:
            self.flush()

    def _finish(self, seed: int, user: int, session: list[Turn]) -> None:
        name = self.dataset.users.ids[user]  # a numpy integer is equal to, and hashes as, the log's plain one
        if (seed, name) in self.known:
            LOG.info("user %s with seed %d is in the log already; the first session stands", name, seed)
            return
        self.known.add((seed, name))
        self.finished.setdefault(seed, []).extend(session)
        self.waiting += 1

    def flush(self) -> None:
        """Write the finished sessions."""
        self.log.write_seeds(self.policy, self.dataset, self.finished)
        self.finished, self.waiting = {}, 0


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
            None if reaction.readings is None else reaction.readings[here],
            None if reaction.remembered is None else list(reaction.remembered)[here],
            None if reaction.verdicts is None else reaction.verdicts[here],
            None if reaction.asked is None else list(reaction.asked)[here],
        ),
        turn.repeated[here],
        turn.truncated[here],
    )
