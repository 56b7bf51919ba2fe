"""What a policy may know when it fills a page."""

from dataclasses import dataclass

import numba
import numpy as np
from scipy import sparse

from .arrays import BitArray, FloatArray, GradeArray, IntArray
from .best import best_of, best_products
from .dataset import Dataset, Ragged
from .pages import EMPTY, Grade


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """The users to fill a page for, with what happened on the pages before."""

    train: Dataset  # the past, as it was learnt from
    users: IntArray  # [B]
    number: IntArray  # [B], the page to come, counted from 0
    shown: IntArray  # [B, S], this session's items in the order shown, EMPTY where there is none
    grades: GradeArray  # [B, S]
    luck: BitArray  # [B], bits of their own for (seed, user); `chance.mix` makes more of them
    leave_out_past: bool = True  # whether items of the training history must not be shown
    leave_out_shown: bool = True  # whether items of this session must not be shown again
    candidates: IntArray | None = None  # [B, C], the only items that may be shown, EMPTY where there are fewer

    def __len__(self) -> int:
        return len(self.users)

    def left_out(self) -> Ragged:
        """Return where each user's forbidden items begin [B + 1], and which they are (some maybe twice)."""
        starts = self.train.starts
        past = starts[self.users + 1] - starts[self.users] if self.leave_out_past else np.zeros(len(self), np.int64)
        shown = self.shown if self.leave_out_shown else self.shown[:, :0]
        begins = np.concatenate([[0], np.cumsum(past + (shown != EMPTY).sum(axis=1))])
        items = np.empty(begins[-1], dtype=np.int32)
        _gather(self.train.interactions.items, starts[self.users], past, shown, begins, items)
        return begins, items

    def mask(self, scores: FloatArray) -> FloatArray:
        """Set the scores [B, I] of all that must be left out to minus infinity, in place."""
        begins, items = self.left_out()
        scores[np.repeat(np.arange(len(self)), np.diff(begins)), items] = -np.inf
        if self.candidates is not None:
            allowed = np.zeros(scores.shape, dtype=bool)
            rows, columns = np.nonzero(self.candidates != EMPTY)
            allowed[rows, self.candidates[rows, columns]] = True
            scores[~allowed] = -np.inf
        return scores

    def top(self, scores: FloatArray, k: int) -> IntArray:
        """Return the `k` best items for each user, best first, without what must be left out.

        Changes the scores [B, I]. Ties go to the lower item. Where fewer than `k` are left the rest is EMPTY.
        """
        return best_of(self.mask(scores), k)

    def top_products(self, vectors: FloatArray, table: FloatArray, k: int, *, offsets: FloatArray) -> IntArray:
        """Return what `top` would for the products of users' vectors [B, D] and items' [I, D] plus offsets [I].

        Never holds all users' scores at once, and does not depend on the batch.
        """
        return best_products(vectors, table, offsets, self.left_out(), self.candidates, k)

    def profile(self, *, liked: float = 1.0, viewed: float = 0.5) -> sparse.csr_array:
        """Return each user's items [B, I]: 1 for the past, `liked` and `viewed` for this session's."""
        places, rows = self.train.rows_of(self.users)
        where, gained, weights = self._gained(liked, viewed)
        data = np.concatenate([np.ones(len(rows), np.float32), weights])
        items = np.concatenate([self.train.interactions.items[rows], gained])
        matrix = sparse.csr_array((data, (np.concatenate([places, where]), items)), shape=self._shape)
        matrix.sum_duplicates()
        np.minimum(matrix.data, max(1.0, liked, viewed), out=matrix.data)  # an item met twice is one item
        return matrix

    def histories(self, window: int, *, viewed: bool = True) -> IntArray:
        """Return each user's last items, the latest at the end: [B, window], EMPTY before the first.

        The past comes first, then what was liked (and viewed) in this session, in the order shown.
        """
        wanted = self.grades >= (Grade.VIEWED if viewed else Grade.LIKED)
        recent = np.full((len(self), window), EMPTY, dtype=np.int32)
        starts = self.train.starts
        _recall(self.train.interactions.items, starts[self.users], starts[self.users + 1], self.shown, wanted, recent)
        return recent

    def sums(self, table: FloatArray, *, liked: float = 1.0, viewed: float = 0.5) -> tuple[FloatArray, FloatArray]:
        """Return the sum of the vectors [I, D] of each user's items [B, D], and of their weights [B].

        As `profile() @ table`, but faster where no item can be met twice.
        """
        if self.train.has_repeats or not self.leave_out_shown:
            profile = self.profile(liked=liked, viewed=viewed)
            return np.asarray(profile @ table, dtype=np.float32), np.asarray(profile.sum(axis=1), dtype=np.float32)
        starts = self.train.starts
        weight = np.zeros(len(Grade), dtype=np.float32)
        weight[Grade.LIKED], weight[Grade.VIEWED] = liked, viewed
        total = np.zeros((len(self), table.shape[1]), dtype=np.float32)
        mass = np.zeros(len(self), dtype=np.float32)
        log = self.train.interactions.items
        _sum(log, starts[self.users], starts[self.users + 1], self.shown, weight[self.grades], table, total, mass)
        return total, mass

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self), len(self.train.catalog)

    def _gained(self, liked: float, viewed: float) -> tuple[IntArray, IntArray, FloatArray]:
        weight = np.zeros(len(Grade), dtype=np.float32)
        weight[Grade.LIKED], weight[Grade.VIEWED] = liked, viewed
        gained = weight[self.grades] * (self.shown != EMPTY)
        where, columns = np.nonzero(gained)
        return where, self.shown[where, columns], gained[where, columns]


@numba.njit(cache=True)
def _gather(log, starts, lengths, shown, begins, items):  # type: ignore[no-untyped-def]
    """Lay each user's past and shown items side by side."""
    for row in range(len(starts)):
        place = begins[row]
        for entry in range(starts[row], starts[row] + lengths[row]):
            items[place] = log[entry]
            place += 1
        for item in shown[row]:
            if item != EMPTY:
                items[place] = item
                place += 1


@numba.njit(cache=True)
def _recall(log, starts, ends, shown, wanted, recent):  # type: ignore[no-untyped-def]
    """Fill each row from its end: this session backwards, then the past backwards."""
    for row in range(len(recent)):
        place = recent.shape[1] - 1
        for column in range(shown.shape[1] - 1, -1, -1):
            if place >= 0 and wanted[row, column] and shown[row, column] != EMPTY:
                recent[row, place] = shown[row, column]
                place -= 1
        for entry in range(ends[row] - 1, starts[row] - 1, -1):
            if place < 0:
                break
            recent[row, place] = log[entry]
            place -= 1


@numba.njit(cache=True)
def _sum(log, starts, ends, shown, weights, table, total, mass):  # type: ignore[no-untyped-def]
    """Add up the vectors of each user's past, then of this session's new items."""
    for row in range(len(total)):
        mine = total[row]
        for entry in range(starts[row], ends[row]):
            vector = table[log[entry]]
            for dimension in range(len(mine)):
                mine[dimension] += vector[dimension]
        mass[row] = ends[row] - starts[row]
        for column in range(shown.shape[1]):
            item, weight = shown[row, column], weights[row, column]
            if item == EMPTY or weight == 0:
                continue
            known = False
            for entry in range(starts[row], ends[row]):
                known |= log[entry] == item
            if not known:
                vector = table[item]
                for dimension in range(len(mine)):
                    mine[dimension] += weight * vector[dimension]
                mass[row] += weight
