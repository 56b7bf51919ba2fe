"""What a policy may know when it fills a page."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .arrays import BitArray, FloatArray, GradeArray, IntArray
from .dataset import Dataset
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

    def __len__(self) -> int:
        return len(self.users)

    def mask(self, scores: FloatArray) -> FloatArray:
        """Set the scores [B, I] of all that must be left out to minus infinity, in place."""
        if self.leave_out_past:
            places, rows = self.train.rows_of(self.users)
            scores[places, self.train.interactions.items[rows]] = -np.inf
        if self.leave_out_shown and self.shown.shape[1]:
            places, columns = np.nonzero(self.shown != EMPTY)
            scores[places, self.shown[places, columns]] = -np.inf
        return scores

    def top(self, scores: FloatArray, k: int) -> IntArray:
        """Return the `k` best items for each user, best first, without what must be left out.

        Ties go to the lower item. Where fewer than `k` are left the rest is EMPTY.
        """
        scores = self.mask(scores)
        wanted = min(k, scores.shape[1])
        if wanted < scores.shape[1]:
            best = np.argpartition(-scores, wanted - 1, axis=1)[:, :wanted]
        else:
            best = np.broadcast_to(np.arange(wanted), (len(scores), wanted))
        best = np.sort(_settle_ties(scores, best), axis=1)
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        items = np.take_along_axis(best, order, axis=1)
        gone = np.isneginf(np.take_along_axis(scores, items, axis=1))
        page = np.full((len(scores), k), EMPTY, dtype=np.int32)
        page[:, :wanted] = np.where(gone, EMPTY, items)
        return page

    def profile(self, *, liked: float = 1.0, viewed: float = 0.5) -> sparse.csr_array:
        """Return each user's items [B, I]: 1 for the past, `liked` and `viewed` for this session's."""
        places, rows = self.train.rows_of(self.users)
        weight = np.zeros(len(Grade), dtype=np.float32)
        weight[Grade.LIKED], weight[Grade.VIEWED] = liked, viewed
        gained = weight[self.grades] * (self.shown != EMPTY)
        where, columns = np.nonzero(gained)
        data = np.concatenate([np.ones(len(rows), np.float32), gained[where, columns]])
        items = np.concatenate([self.train.interactions.items[rows], self.shown[where, columns]])
        size = (len(self), len(self.train.catalog))
        matrix = sparse.csr_array((data, (np.concatenate([places, where]), items)), shape=size)
        matrix.sum_duplicates()
        np.minimum(matrix.data, max(1.0, liked, viewed), out=matrix.data)  # an item met twice is one item
        return matrix


def _settle_ties(scores: FloatArray, best: IntArray) -> IntArray:
    """Give the last places to the lowest of the items that tie for them."""
    chosen = np.take_along_axis(scores, best, axis=1)
    last = chosen.min(axis=1, keepdims=True)
    more = (scores == last).sum(axis=1) > (chosen == last).sum(axis=1)
    more &= np.isfinite(last[:, 0])
    if not more.any():
        return best
    best = best.copy()
    size = best.shape[1]
    best[more] = np.argsort(-scores[more], axis=1, kind="stable")[:, :size]
    return best
