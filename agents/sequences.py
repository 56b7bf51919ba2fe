"""Which item follows which, and whether it is liked then: a Markov chain over the last items, brought down by an SVD.

Each of a user's last items, liked or not, speaks for and against what may come next: by how much oftener it came before
this item than chance would have it (for a choice), and by how much better this item was rated after it than that user
and that item usually give and get (for a like). Both tables are counted over pairs of places in the histories and
factored, so that at run time a user is one short vector. Nothing is shared with what `choice` learns.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from simenv.algebra import leading
from simenv.arrays import BoolArray, FloatArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset

LAGS = 20  # places back of an item that still speak for the next
RANK = 96  # of the factored tables
HALF = 10.0  # items after which one says half as much of what is chosen
HALF_LIKED = 400.0  # the same of what is liked
DOUBT, DOUBT_LIKED = 20.0, 50.0  # pairs' worth of doubt about a cell's rows and columns
MEAN_DOUBT = 5.0  # rows' worth of doubt about a user's or an item's usual share of likes
MOST_ROWS = 1_500_000  # beyond these a sample of users is counted
ROUNDS = 4  # of the search for directions


@dataclass(frozen=True, eq=False)
class Table:
    """A factored table of what each item, liked (first half of the rows) or not (second), says of each other item."""

    before: FloatArray  # [2 I, R]
    after: FloatArray  # [I, R]


@dataclass(frozen=True, eq=False)
class Sequences:
    """What the order of a user's history says of each item."""

    chosen_users: FloatArray  # [U, R]
    chosen_items: FloatArray  # [I, R]
    fame: FloatArray  # [I], log of how often an item was chosen, beside the mean
    liked_users: FloatArray  # [U, R]
    liked_items: FloatArray  # [I, R]
    quality: FloatArray  # [I], log-odds that an item is liked once chosen
    lenience: FloatArray  # [U], log-odds that a user likes what they chose

    def chosen(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return what speaks for a choice: the sequence, and fame [N, 2]."""
        own = np.einsum("nr,nr->n", self.chosen_users[users], self.chosen_items[items])
        return np.stack([own, self.fame[items]], axis=1)

    def liked(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return what speaks for a like: the sequence, the item's quality, and the user's lenience [N, 3]."""
        own = np.einsum("nr,nr->n", self.liked_users[users], self.liked_items[items])
        return np.stack([own, self.quality[items], self.lenience[users]], axis=1)


def learn_sequences(dataset: Dataset, liked: BoolArray, seed: int) -> Sequences:
    """Learn from rows in the order of their times; `liked` tells of each row whether it was."""
    log, users, items = dataset.interactions, len(dataset.users), len(dataset.catalog)
    middle = float(liked.mean())
    lenience, quality = _usual(log.users, log.items, liked.astype(np.float64), users, items)
    expected = (middle + lenience[log.users] + quality[log.items]).clip(0.02, 0.98)
    rows, places = _counted_rows(dataset, seed)
    states = log.items.astype(np.int64) + items * ~liked
    counts, sums = _pairs(states, log.items.astype(np.int64), liked - expected, rows, places, items)
    chosen, told = _follows(counts), _told(counts, sums)
    fame = np.bincount(log.items, minlength=items)
    return Sequences(
        chosen_users=_users(dataset, states, chosen.before, HALF),
        chosen_items=chosen.after,
        fame=np.log((fame + 0.5) / (fame.mean() + 0.5)),
        liked_users=_users(dataset, states, told.before, HALF_LIKED),
        liked_items=told.after,
        quality=_log_odds(middle + quality),
        lenience=_log_odds(middle + lenience),
    )


def _usual(
    users: IntArray, items: IntArray, liked: FloatArray, user_count: int, item_count: int
) -> tuple[FloatArray, FloatArray]:
    """Return by how much each user's and each item's share of likes lies above the mean, each beside the other."""
    above = liked - liked.mean()
    user_rows = np.bincount(users, minlength=user_count) + MEAN_DOUBT
    item_rows = np.bincount(items, minlength=item_count) + MEAN_DOUBT
    lenience: FloatArray = np.zeros(user_count)
    quality: FloatArray = np.zeros(item_count)
    for _ in range(5):
        quality = np.bincount(items, above - lenience[users], item_count) / item_rows
        lenience = np.bincount(users, above - quality[items], user_count) / user_rows
    return lenience, quality


def _log_odds(share: FloatArray) -> FloatArray:
    share = share.clip(0.01, 0.99)
    return np.asarray(np.log(share / (1 - share)))


def _counted_rows(dataset: Dataset, seed: int) -> tuple[IntArray, IntArray]:
    """Return the rows that are counted, of all users or of some drawn, and each row's place in its history."""
    counts = np.diff(dataset.starts)
    order = stream(seed, "sequences").permutation(len(counts))
    taken = np.zeros(len(counts), dtype=bool)
    taken[order[np.cumsum(counts[order]) <= MOST_ROWS]] = True
    log = dataset.interactions
    return np.flatnonzero(taken[log.users]), log.places(len(counts))


def _pairs(
    states: IntArray, items: IntArray, above: FloatArray, rows: IntArray, places: IntArray, item_count: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return how often each state came shortly before each item, and how far likes lay above the usual then."""
    shape = (2 * item_count, item_count)
    counts, sums = sparse.csr_array(shape), sparse.csr_array(shape)
    for lag in range(1, LAGS + 1):
        after = rows[places[rows] >= lag]
        if not len(after):
            break
        cells = states[after - lag], items[after]
        counts = counts + sparse.csr_array((np.ones(len(after)), cells), shape=shape)
        sums = sums + sparse.csr_array((above[after], cells), shape=shape)
    return counts, sums


def _follows(counts: sparse.csr_array) -> Table:
    """Return the table of what follows what, beside what chance would have."""
    return _factored(counts, np.asarray(counts.sum(axis=1)), np.asarray(counts.sum(axis=0)), DOUBT)


def _told(counts: sparse.csr_array, sums: sparse.csr_array) -> Table:
    """Return the table of what was liked after what."""
    return _factored(sums, np.asarray(counts.sum(axis=1)), np.asarray(counts.sum(axis=0)), DOUBT_LIKED)


def _factored(cells: sparse.csr_array, before: FloatArray, after: FloatArray, doubt: float) -> Table:
    left, right = 1 / np.sqrt(before + doubt), 1 / np.sqrt(after + doubt)
    scaled = sparse.csr_array(cells.multiply(left[:, None]).multiply(right[None, :]))
    found = leading(scaled, RANK, rounds=ROUNDS)
    return Table(found.left * left[:, None] * found.values, found.right)


def _users(dataset: Dataset, states: IntArray, before: FloatArray, half: float) -> FloatArray:
    """Return each user as the sum of what their items say, the last ones most."""
    log = dataset.interactions
    age = dataset.starts[log.users + 1] - 1 - np.arange(len(log))
    weights = sparse.csr_array((0.5 ** (age / half), (log.users, states)), shape=(len(dataset.users), len(before)))
    return np.asarray(weights @ before)
