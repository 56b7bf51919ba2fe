"""The offline ranking: what a policy would show first, held against held-out rows."""

import numpy as np
import pyarrow as pa

from .arrays import IntArray
from .context import Context
from .errors import PageError
from .loop import empty_repeats, luck_of, no_marks, policy_luck
from .pages import EMPTY
from .policy import Policy
from .splits import Split

BATCH = 1024


def ranking_table(split: Split, policy: Policy, users: IntArray, k: int) -> pa.Table:
    """Return the first `k` of a full ranking for those of the users who have test rows: `k` rows each.

    All items but those of the user's training history are ranked, as before the first page of seed 0.
    Where a policy has fewer to show, the rest of the rows have no item.
    """
    train = split.train
    wanted = _wanted(split)
    tested = np.intersect1d(users, wanted // len(train.catalog)).astype(np.int32)
    lists = [
        np.asarray(policy.recommend(_first_context(split, tested[begin : begin + BATCH]), k))
        for begin in range(0, len(tested), BATCH)
    ]
    for page in lists:
        if page.ndim != 2 or page.shape[1] != k or page.dtype.kind not in "iu":
            raise PageError(f"a ranking of shape {page.shape} and type {page.dtype}; wanted whole numbers, {k} a user")
    ranked = np.concatenate(lists) if lists else np.empty((0, k), dtype=np.int32)
    count = len(train.catalog)
    items, _ = empty_repeats(ranked, np.arange(len(tested)), no_marks(len(tested), count), count, keep=True)
    counts = np.bincount(wanted // len(train.catalog), minlength=len(train.users))
    codes = tested[:, None].astype(np.int64) * len(train.catalog) + items
    relevant = np.isin(codes, wanted) & (items != EMPTY)
    users_of = np.repeat(tested, k)
    ids = train.catalog.ids
    return pa.table(
        {
            "user_id": pa.array(train.users.ids[users_of].tolist()),
            "rank": np.tile(np.arange(k, dtype=np.int32), len(tested)),
            "item_id": pa.array([None if item == EMPTY else ids[item] for item in items.reshape(-1).tolist()]),
            "relevant": relevant.reshape(-1),
            "relevant_count": counts[users_of].astype(np.int64),
        }
    )


def _wanted(split: Split) -> IntArray:
    """Return the pairs of user and held-out item, as one number each, that a ranking may hold.

    An item of the training history is not ranked, so it is not wanted either.
    """
    test, log, count = split.test, split.train.interactions, len(split.train.catalog)
    return np.setdiff1d(
        test.users.astype(np.int64) * count + test.items, log.users.astype(np.int64) * count + log.items
    )


def _first_context(split: Split, users: IntArray) -> Context:
    nothing = np.empty((len(users), 0), dtype=np.int32)
    return Context(
        split.train,
        users,
        np.zeros(len(users), np.int32),
        nothing,
        nothing.astype(np.int8),
        policy_luck(luck_of(0, users)),
    )
