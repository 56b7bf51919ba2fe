"""Records from self-play: what a model would generate, graded by how near it comes to the true item."""

from enum import IntEnum

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.dataset import Dataset, grades_of
from simenv.errors import DataError
from simenv.pages import EMPTY, Grade

from .records import NONE, Graded, Records, begins, make_records, pair_keys


class Level(IntEnum):
    """How hard a candidate is to tell from the true item, by the beginning that their codes share."""

    EASY = 0  # none of it
    MEDIUM = 1  # some
    HARD = 2  # all but the last code, or more


def levels_of(codes: IntArray, items: IntArray, targets: IntArray) -> IntArray:
    """Return the level of each item [B, W] beside its target [B], by the codes [I, T] of both."""
    same = codes[items] == codes[targets][:, None, :]
    shared = np.cumprod(same, axis=2).sum(axis=2)  # a common beginning, not any equal places
    hard = shared >= max(codes.shape[1] - 1, 1)
    return np.where(shared == 0, Level.EASY, np.where(hard, Level.HARD, Level.MEDIUM)).astype(np.int8)


def self_play(
    users: IntArray,
    history: Graded,
    targets: IntArray,
    beams: IntArray,
    codes: IntArray,
    train: Dataset,
    *,
    policy: str = "",
    confidence: FloatArray | float = 1.0,
) -> Records:
    """Return a record for each user [B]: the true item [B], then the beam's items [B, W], EMPTY where there are none.

    The true item is LIKED. A beam's item is UNSEEN unless the training rows tell its grade; the true item itself,
    all that the user liked, and what came twice are left out. Targets are the caller's to choose from training rows.
    """
    _check(users, history, targets, beams, codes, train)
    log = train.interactions
    known_grades, known = grades_of(log.ratings), pair_keys(log.users, log.items)
    pairs = pair_keys(users[:, None], beams)
    liked = np.isin(pairs, known[known_grades == Grade.LIKED])
    kept = (beams != EMPTY) & (beams != targets[:, None]) & ~liked & _first(beams)
    level = levels_of(codes, np.where(kept, beams, 0), targets)
    grades = _known_grades(pairs, known, known_grades)
    ones = np.ones((len(users), 1), dtype=bool)
    keep = np.concatenate([ones, kept], axis=1)
    items = np.concatenate([targets[:, None], beams], axis=1)[keep].astype(np.int32)
    graded = np.concatenate([ones * np.int8(Grade.LIKED), grades], axis=1)[keep].astype(np.int8)
    candidates = Graded(begins(keep.sum(axis=1)), items, graded, np.full(len(items), np.nan, np.float32))
    levels = np.concatenate([np.where(ones, NONE, NONE), level], axis=1)[keep]
    return make_records(users, history, candidates, "self-play", levels=levels, policies=policy, confidence=confidence)


def _check(
    users: IntArray, history: Graded, targets: IntArray, beams: IntArray, codes: IntArray, train: Dataset
) -> None:
    count = len(users)
    if len(targets) != count or len(beams) != count or len(history) != count or beams.ndim != 2:
        raise DataError(f"self-play of {count} users: targets {targets.shape}, beams {beams.shape}, one row each")
    if codes.ndim != 2 or len(codes) != len(train.catalog):
        raise DataError(f"self-play: codes {codes.shape}, where the catalogue has {len(train.catalog)} items")
    for what, items in (("targets", targets), ("beams", beams)):
        wrong = (items < (EMPTY if what == "beams" else 0)) | (items >= len(train.catalog))
        if wrong.any():
            row = int(np.argwhere(wrong)[0][0])
            raise DataError(f"self-play, row {row + 1} of the {what}: no item {items[wrong][0]} in the catalogue")


def _first(items: IntArray) -> np.ndarray:  # type: ignore[type-arg]
    """Tell which places hold an item that no earlier place of the row holds."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, 1)
    new = np.ones(items.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.empty(items.shape, dtype=bool)
    np.put_along_axis(first, order, new, 1)
    return first


def _known_grades(pairs: IntArray, known: IntArray, grades: IntArray) -> IntArray:
    """Return each pair's grade in the training rows, the last where there are several; UNSEEN where there is none."""
    if not len(known):
        return np.full(pairs.shape, Grade.UNSEEN, dtype=np.int8)
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], pairs, side="right") - 1
    found = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (known[found] == pairs), grades[found], Grade.UNSEEN).astype(np.int8)
