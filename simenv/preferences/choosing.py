"""Which pairs or labels are kept: one of each, so many for a user, and alike in popularity or length."""

from collections.abc import Sequence

import numpy as np

from simenv.arrays import BitArray, BoolArray, IntArray
from simenv.chance import key, mix
from simenv.dataset import Dataset
from simenv.errors import DataError

from .converting import Labels, Pairs, Rows
from .records import pair_keys
from .wording import Wording

BALANCE = ("popularity", "length")


def is_first(rows: Pairs | Labels) -> BoolArray:
    """Tell which say something new: of a user's equal pairs or labels the surest stays, the earlier of equals."""
    values = _values(rows)
    columns = (*values[::-1], rows.users)
    order = np.lexsort((np.arange(len(rows)), -rows.confidence, *columns))
    new = np.ones(len(rows), dtype=bool)
    new[1:] = False
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    first = np.zeros(len(rows), dtype=bool)
    first[order[new]] = True
    return first


def is_among(rows: Rows, most: int, seed: int = 0) -> BoolArray:
    """Tell which are kept when each user has at most so many, drawn from the seed."""
    if most < 1:
        raise DataError(f"at most {most} rows for a user; it takes at least 1")
    order = np.lexsort((_luck(rows, seed, "most"), rows.users))
    users = rows.users[order]
    rank = np.arange(len(rows)) - np.searchsorted(users, users)
    kept = np.zeros(len(rows), dtype=bool)
    kept[order[rank < most]] = True
    return kept


def is_balanced(rows: Rows, train: Dataset, by: Sequence[str], seed: int = 0) -> BoolArray:
    """Tell which are kept so that chosen and rejected items are equally popular, or have equally long names.

    Items are told apart in steps of a factor of two. As many pairs are kept with a chosen item of one step over
    a rejected one of another as the other way round; of labels, as many good ones of each step as others.
    """
    steps = _steps(train, by)
    luck = _luck(rows, seed, "balance")
    if isinstance(rows, Pairs):
        one, other = steps[rows.chosen], steps[rows.rejected]
        cell = pair_keys(np.minimum(one, other), np.maximum(one, other))
        side = one > other
        kept = one == other  # these are balanced by themselves
    else:
        cell, side = steps[rows.items], ~rows.good
        kept = np.zeros(len(rows), dtype=bool)
    order = np.lexsort((luck, side, cell))
    order = order[~kept[order]]
    _, group, counts = np.unique(np.stack([cell[order], side[order]]), axis=1, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    rank = np.arange(len(order)) - np.searchsorted(group, group)
    total = _of_other_side(cell[order], side[order])
    kept[order[rank < np.minimum(counts[group], total)]] = True
    return kept


def _of_other_side(cell: IntArray, side: BoolArray) -> IntArray:
    """Return for each row how many of its cell are on the other side."""
    _, place = np.unique(cell, return_inverse=True)
    count = int(place.max(initial=-1)) + 1
    sides = np.stack([np.bincount(place[~side], minlength=count), np.bincount(place[side], minlength=count)])
    other: IntArray = sides[(~side).astype(int), place]
    return other


def _steps(train: Dataset, by: Sequence[str]) -> IntArray:
    """Return a number for each item that tells its popularity, its length, or both, in steps of a factor of two."""
    if not by or set(by) - set(BALANCE):
        raise DataError(f"balance {', '.join(by) or 'by nothing'}: there are {' and '.join(BALANCE)}")
    steps = np.zeros(len(train.catalog), dtype=np.int64)
    if "popularity" in by:
        steps += np.log2(train.popularity + 1).astype(np.int64)
    if "length" in by:
        steps += 64 * np.log2(Wording(train.catalog).lengths + 1).astype(np.int64)
    return steps


def _values(rows: Pairs | Labels) -> tuple[IntArray, IntArray]:
    return (rows.chosen, rows.rejected) if isinstance(rows, Pairs) else (rows.items, rows.good.astype(np.int8))


def _luck(rows: Pairs | Labels, seed: int, name: str) -> BitArray:
    """Return bits for each row, whichever rows stand beside it."""
    one, other = _values(rows)
    return mix(mix(mix(key(seed, name), rows.users), one), other)
