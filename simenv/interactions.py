"""Who met what, how they rated it and when: the columns of a log."""

from dataclasses import dataclass

import numpy as np

from .arrays import BoolArray, FloatArray, IntArray

NO_TIME = np.iinfo(np.int64).min  # where the data give no time


@dataclass(frozen=True, eq=False)
class Interactions:
    """Rows sorted by user and, for each user, oldest first."""

    users: IntArray  # [N]
    items: IntArray  # [N]
    ratings: FloatArray  # [N], NaN where implicit
    times: IntArray  # [N] seconds, NO_TIME where absent
    strengths: FloatArray | None = None  # [N] how much, such as hours played; NaN where absent

    def __len__(self) -> int:
        return len(self.users)

    @staticmethod
    def sort(
        users: IntArray,
        items: IntArray,
        ratings: FloatArray | None = None,
        times: IntArray | None = None,
        order: IntArray | FloatArray | None = None,
    ) -> tuple["Interactions", IntArray]:
        """Return the rows in their proper order, and the old row number of each.

        `order` says which of a user's rows is older (by default `times`); ties keep the order given.
        """
        count = len(users)
        ratings = np.full(count, np.nan, np.float32) if ratings is None else ratings
        times = np.full(count, NO_TIME, np.int64) if times is None else times
        rows = _by_user(users, times if order is None else order)
        return (
            Interactions(
                users[rows].astype(np.int32),
                items[rows].astype(np.int32),
                ratings[rows].astype(np.float32),
                times[rows].astype(np.int64),
            ),
            rows,
        )

    def __getitem__(self, rows: BoolArray | IntArray) -> "Interactions":
        """Return some of the rows; a mask or rising row numbers keep them sorted."""
        strengths = None if self.strengths is None else self.strengths[rows]
        return Interactions(self.users[rows], self.items[rows], self.ratings[rows], self.times[rows], strengths)

    def starts(self, user_count: int) -> IntArray:
        """Return where each user's rows begin: [user_count + 1]."""
        return np.searchsorted(self.users, np.arange(user_count + 1)).astype(np.int64)

    def places(self, user_count: int) -> IntArray:
        """Return each row's place in its user's history, 0 for the oldest."""
        return np.arange(len(self)) - self.starts(user_count)[self.users]


def _by_user(users: IntArray, order: IntArray | FloatArray) -> IntArray:
    if len(users) and np.issubdtype(order.dtype, np.integer):
        first, span = int(order.min()), int(order.max()) - int(order.min()) + 1
        if span * (int(users.max()) + 1) < np.iinfo(np.int64).max:
            # One number for both: five times as fast as sorting twice.
            return np.argsort(users.astype(np.int64) * span + (order - first), kind="stable")
    return np.lexsort((order, users))
