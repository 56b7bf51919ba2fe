"""How long each user's sessions are, by their own history."""

from dataclasses import dataclass

import numpy as np

from simenv.arrays import FloatArray
from simenv.dataset import Dataset
from simenv.interactions import NO_TIME

BREAK = 3600  # seconds without a choice that end a session
SHRINK = 3.0  # sessions' worth of doubt about how long a user's are
LEAST_SPREAD = 0.25  # of the log of sessions' lengths; below it they do not differ
USUAL_PAGES = 5.0  # of the mean user
ROUNDS = 60  # in which the mean is found, of users whose sessions have a page at least


@dataclass(frozen=True, eq=False)
class SessionLengths:
    """The log of each user's mean session length, in choices, or of what stands for it."""

    log: FloatArray  # [U]
    by_times: bool  # False where the length of the whole history stands for it


def session_lengths(dataset: Dataset) -> SessionLengths:
    """Return how long each user's sessions are, by the times of their choices.

    Where these are not known, or sessions do not differ, the length of the history stands for it.
    """
    log, counts = dataset.interactions, np.diff(dataset.starts)
    if len(log) and (log.times != NO_TIME).all():
        begins = np.append(True, (log.users[1:] != log.users[:-1]) | (np.diff(log.times) > BREAK))
        number = np.cumsum(begins) - 1
        owner, length = log.users[begins], np.log(np.bincount(number))
        if length.std() > LEAST_SPREAD:
            sessions = np.bincount(owner, minlength=len(counts))
            total = np.bincount(owner, length, len(counts))
            return SessionLengths((total + SHRINK * length.mean()) / (sessions + SHRINK), by_times=True)
    return SessionLengths(np.log1p(counts), by_times=False)


def usual_pages(dataset: Dataset, mean: float = USUAL_PAGES) -> FloatArray:
    """Return how many pages each user's sessions usually have [U]: as their history has it, and `mean` on average.

    Of a history without times nobody knows how many sessions it was; half of its log is laid to their length. A user
    without a history has the mean, and nobody has less than a page.
    """
    lengths, there = session_lengths(dataset), np.diff(dataset.starts) > 0
    found = np.full(len(there), mean, dtype=np.float64)
    if not there.any():
        return found
    size = np.exp((1.0 if lengths.by_times else 0.5) * lengths.log[there])
    scale = mean / float(size.mean())
    for _ in range(ROUNDS):
        scale *= mean / float(np.maximum(scale * size, 1.0).mean())
    found[there] = np.maximum(scale * size, 1.0)
    return found
