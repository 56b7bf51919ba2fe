"""Records from logged interactions: what a user liked, beside what they are known to have liked less."""

import numpy as np

from simenv.arrays import IntArray
from simenv.chance import key, mix
from simenv.dataset import Dataset, grades_of
from simenv.errors import DataError
from simenv.pages import Grade
from simenv.splits import Split

from .leaks import held_out_keys
from .pasts import WINDOW, past_of
from .records import Graded, Records, begins, make_records, pair_keys


def logged(split: Split, *, window: int = WINDOW, lower: int = 3, unobserved: int = 0, seed: int = 0) -> Records:
    """Return a record for each training row whose item was liked and that has rows before it.

    Its candidates are this item and the same user's `lower` nearest rows, earlier or later, whose items they
    liked less; those are left out of the history, which is of the rows before. Items that the user never met,
    `unobserved` of them drawn from the seed, are UNSEEN; none of them was held out for the user.
    """
    if lower < 0 or unobserved < 0:
        raise DataError(f"lower={lower}, unobserved={unobserved}: a record takes 0 or more of each")
    train = split.train
    log = train.interactions
    grades = grades_of(log.ratings)
    places = log.places(len(train.users))
    targets = np.flatnonzero((grades == Grade.LIKED) & (places > 0))
    users = log.users[targets]
    worse = _nearest_lower(train, targets, lower)
    drawn = _never_met(split, users, unobserved, seed)
    rows = np.concatenate([targets[:, None], worse], axis=1)
    there = rows >= 0
    items = np.concatenate([log.items[rows], drawn], axis=1)
    kept = np.concatenate([there, drawn >= 0], axis=1)
    shown = (np.where(there, grades[rows], Grade.UNSEEN), np.full(drawn.shape, Grade.UNSEEN))
    ratings = (log.ratings[rows], np.full(drawn.shape, np.nan, np.float32))
    candidates = Graded(
        begins(kept.sum(axis=1)),
        items[kept].astype(np.int32),
        np.concatenate(shown, axis=1)[kept].astype(np.int8),
        np.concatenate(ratings, axis=1)[kept],
    )
    past = past_of(train, users, window, targets)
    offered = np.isin(pair_keys(past.rows, past.items), pair_keys(candidates.rows, candidates.items))
    return make_records(users, past.where(~offered), candidates, "logged")


def _nearest_lower(train: Dataset, targets: IntArray, count: int) -> IntArray:
    """Return the rows [T, count] nearest to each target that its user liked less; -1 where there are fewer.

    An item that the user liked in any row is none of them, and of an item met twice the later row counts.
    """
    log = train.interactions
    grades, keys = grades_of(log.ratings), pair_keys(log.users, log.items)
    lower = np.flatnonzero((grades < Grade.LIKED) & ~np.isin(keys, keys[grades == Grade.LIKED]))
    last = len(lower) - 1 - np.unique(keys[lower][::-1], return_index=True)[1]
    lower = lower[np.sort(last)]
    if not len(lower) or not count:
        return np.full((len(targets), count), -1, dtype=np.int64)
    around = np.searchsorted(lower, targets)[:, None] + np.arange(-count, count)
    rows = lower[np.clip(around, 0, len(lower) - 1)]
    is_own = (around >= 0) & (around < len(lower)) & (log.users[rows] == log.users[targets][:, None])
    distance = np.where(is_own, np.abs(rows - targets[:, None]), np.iinfo(np.int64).max)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :count]
    return np.where(np.take_along_axis(is_own, nearest, 1), np.take_along_axis(rows, nearest, 1), -1)


def _never_met(split: Split, users: IntArray, count: int, seed: int) -> IntArray:
    """Return items [T, count] that each user has in no row, held-out ones included; -1 where a draw hit one."""
    train = split.train
    log = train.interactions
    known = np.concatenate([pair_keys(log.users, log.items), held_out_keys(split)])
    bits = mix(mix(key(seed, "unobserved"), np.arange(len(users)))[:, None], np.arange(count))
    items = (bits % np.uint64(len(train.catalog))).astype(np.int64)
    twice = np.zeros(items.shape, dtype=bool)
    for place in range(1, count):
        twice[:, place] = (items[:, :place] == items[:, place, None]).any(axis=1)
    return np.where(twice | np.isin(pair_keys(users[:, None], items), known), -1, items)
