"""No two items may bear the same row of codes: how those that do are told apart."""

import math
from collections import Counter
from typing import Literal, TypeAlias, get_args

import numpy as np

from simenv.arrays import IntArray
from simenv.errors import SimenvError

from .kmeans import distances
from .quantisers import Quantised, sinkhorn

Way: TypeAlias = Literal["digit", "own", "sinkhorn", "free", "none"]
WAYS: tuple[Way, ...] = get_args(Way)
SHARP = 0.003  # LC-Rec's, as are the rounds
ROUNDS = 20


def collisions(codes: IntArray) -> int:
    """Return how many rows repeat another: rows less distinct rows."""
    return len(codes) - len(np.unique(codes, axis=0))


def told_apart(quantised: Quantised, way: Way) -> tuple[IntArray, tuple[int, ...]]:
    """Return codes [N, T] of which no two rows are alike, unless the way is 'none', and the levels' sizes.

    'digit' adds a level, if any rows are alike, that counts through those that are. 'own' ends every row with a token
    that no other has, if the last code is not so already: the codes before say what it is like, the last which one it
    is. 'sinkhorn' gives those that are
    alike another code at the last level, spread evenly, as LC-Rec does, and what is still alike the nearest that is
    free; 'free' does that at once. Where a prefix has no room left, a code further up moves too.
    """
    codes, sizes = quantised.codes, quantised.sizes
    if way == "own":
        if len(np.unique(codes[:, -1])) == len(codes):
            return codes, sizes
        return np.column_stack([codes, np.arange(len(codes))]), (*sizes, len(codes))
    if way == "none" or not collisions(codes):
        return codes, sizes
    if way == "digit":
        numbers = _count_through(codes)
        return np.column_stack([codes, numbers]), (*sizes, int(numbers.max()) + 1)
    check_room(sizes, len(codes), way)
    return _moved(quantised, _spread(quantised) if way == "sinkhorn" else codes), sizes


def check_room(sizes: tuple[int, ...], count: int, way: str) -> None:
    """Refuse to tell more rows apart than there are codes for; a digit, or a token of one's own, makes its own room."""
    room = math.prod(sizes)
    if way in ("sinkhorn", "free") and room < count:
        raise SimenvError(
            f"{' x '.join(map(str, sizes))} codes name {room} and there are {count};"
            " take more codes or levels, or disambiguation: digit"
        )


def _groups(codes: IntArray) -> list[IntArray]:
    """Return the row numbers of each set of rows that are alike."""
    _, owner, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(owner.reshape(-1), kind="stable")
    sets = np.split(order, np.cumsum(counts)[:-1])
    return [rows for rows in sets if len(rows) > 1]


def _count_through(codes: IntArray) -> IntArray:
    numbers = np.zeros(len(codes), dtype=np.int64)
    for rows in _groups(codes):
        numbers[rows] = np.arange(len(rows))
    return numbers


def _spread(quantised: Quantised) -> IntArray:
    """Return the codes, the last of each row that is not alone spread evenly over the level."""
    codes, rest, book = quantised.codes.copy(), quantised.left(len(quantised.sizes) - 1), quantised.books[-1]
    done: set[bytes] = set()  # the same rows would be spread in the same way again
    for _ in range(ROUNDS):
        groups = [rows for rows in _groups(codes) if rows.tobytes() not in done]
        if not groups:
            break
        for rows in groups:
            codes[rows, -1] = sinkhorn(distances(rest[rows], book), SHARP).argmax(axis=1)
            done.add(rows.tobytes())
    return codes


def _moved(quantised: Quantised, codes: IntArray) -> IntArray:
    """Return the codes, those of each row that is not alone moved to the nearest free ones, all but the nearest row."""
    codes, levels = codes.copy(), len(quantised.sizes)
    spelt = sum(book[column] for book, column in zip(quantised.books, codes.T, strict=True))
    far = ((quantised.vectors - spelt) ** 2).sum(axis=1)
    movers = [row for rows in _groups(codes) for row in rows[np.argsort(far[rows], kind="stable")][1:].tolist()]
    staying = np.ones(len(codes), dtype=bool)
    staying[movers] = False
    taken = Counter(tuple(row[:depth]) for row in codes[staying].tolist() for depth in range(1, levels + 1))
    rooms = [math.prod(quantised.sizes[depth:]) for depth in range(1, levels + 1)]
    for mover in movers:
        prefix: tuple[int, ...] = ()
        rest = quantised.vectors[mover]
        for level, book in enumerate(quantised.books):
            order = np.argsort(((rest - book) ** 2).sum(axis=1), kind="stable").tolist()
            code = next(code for code in order if taken[(*prefix, code)] < rooms[level])
            prefix, rest = (*prefix, code), rest - book[code]
            taken[prefix] += 1
        codes[mover] = prefix
    return codes
