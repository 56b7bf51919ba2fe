"""The offline ranking: what a policy would show first, held against held-out rows."""

import numpy as np
import pyarrow as pa

from .arrays import IntArray
from .context import Context
from .loop import luck_of
from .pages import EMPTY
from .policy import Policy
from .splits import Split

BATCH = 1024


def ranking_table(split: Split, policy: Policy, users: IntArray, k: int) -> pa.Table:
    """Return the first `k` of a full ranking for those of the users who have test rows: `k` rows each.

    All items but those of the user's training history are ranked, as before the first page of seed 0.
    Where a policy has fewer to show, the rest of the rows have no item.
    """
    train, test = split.train, split.test
    tested = np.intersect1d(users, test.users).astype(np.int32)
    lists = [
        np.asarray(policy.recommend(_first_context(split, tested[begin : begin + BATCH]), k))
        for begin in range(0, len(tested), BATCH)
    ]
    items = np.concatenate(lists) if lists else np.empty((0, k), dtype=np.int32)
    wanted = np.unique(test.users.astype(np.int64) * len(train.catalog) + test.items)
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


def _first_context(split: Split, users: IntArray) -> Context:
    nothing = np.empty((len(users), 0), dtype=np.int32)
    return Context(
        split.train,
        users,
        np.zeros(len(users), np.int32),
        nothing,
        nothing.astype(np.int8),
        luck_of(0, users),
    )
