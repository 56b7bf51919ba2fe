"""The offline ranking: what a policy would show first, held against held-out rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from .arrays import BoolArray, FloatArray, IntArray
from .chance import stream
from .context import Context
from .dataset import Dataset
from .errors import PageError
from .interactions import Interactions
from .loop import empty_repeats, luck_of, no_marks, policy_luck
from .pages import EMPTY
from .policy import Policy
from .splits import Split

BATCH = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The first `k` items for each user, and which of them were held out."""

    users: IntArray  # [U]
    items: IntArray  # [U, k], EMPTY where a policy had fewer to show
    relevant: BoolArray  # [U, k]
    wanted: IntArray  # [U], how many held-out items a ranking may hold

    def qualities(self, k: int | None = None) -> FloatArray:
        """Return each user's recall, NDCG, hit and reciprocal rank among the first `k`: [U, 4]."""
        return qualities(self.relevant[:, :k], self.wanted)


def rank(
    policy: Policy,
    history: Dataset,
    held: Interactions,
    users: IntArray,
    k: int,
    *,
    candidates: IntArray | None = None,
    leave_out_past: bool = True,
) -> Ranking:
    """Return the first `k` of a ranking for those of the users who have held-out rows.

    All items are ranked, or for each of the users his candidates [users, C]; those of the history only if the
    past is not left out. Policies answer as before the first page of seed 0.
    """
    count = len(history.catalog)
    wanted = np.unique(held.users.astype(np.int64) * count + held.items)
    if leave_out_past:
        # An item of the history is not ranked, so it is not wanted either.
        log = history.interactions
        wanted = np.setdiff1d(wanted, log.users.astype(np.int64) * count + log.items, assume_unique=False)
    tested, places, _ = np.intersect1d(users, wanted // count, return_indices=True)
    tested = tested.astype(np.int32)
    some = None if candidates is None else candidates[places]
    lists = []
    for begin in range(0, len(tested), BATCH):
        few = None if some is None else some[begin : begin + BATCH]
        context = _first_context(history, tested[begin : begin + BATCH], few, leave_out_past)
        lists.append(np.asarray(policy.recommend(context, k)))
    for page in lists:
        if page.ndim != 2 or page.shape[1] != k or page.dtype.kind not in "iu":
            raise PageError(f"a ranking of shape {page.shape} and type {page.dtype}; wanted whole numbers, {k} a user")
    ranked = np.concatenate(lists) if lists else np.empty((0, k), dtype=np.int32)
    items, _ = empty_repeats(ranked, np.arange(len(tested)), no_marks(len(tested), count), count, keep=True)
    codes = tested[:, None].astype(np.int64) * count + items
    counts = np.bincount(wanted // count, minlength=len(history.users))[tested]
    return Ranking(tested, items, np.isin(codes, wanted) & (items != EMPTY), counts)


def qualities(relevant: BoolArray, wanted: IntArray) -> FloatArray:
    """Return each user's recall, NDCG, hit and reciprocal rank [U, 4] of rankings [U, k].

    Recall is the share of the wanted items that are among the k; NDCG is over that of the best ranking of k.
    """
    k = relevant.shape[1]
    discount = 1 / np.log2(np.arange(k) + 2)
    best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(wanted, k)]
    hits = relevant.sum(axis=1)
    first = np.where(hits > 0, relevant.argmax(axis=1), np.inf)
    return np.stack([hits / wanted, relevant @ discount / best, (hits > 0).astype(float), 1 / (first + 1)], axis=1)


def ndcg(policy: Policy, history: Dataset, held: Interactions, k: int, *, most: int) -> float:
    """Return the mean NDCG over users with held-out rows, or over `most` of them, drawn once for all."""
    users = np.unique(held.users)
    if len(users) > most:
        users = np.sort(stream(0, "judges").choice(users, size=most, replace=False))
    found = rank(policy, history, held, users, k).qualities()
    return float(found[:, 1].mean()) if len(found) else 0.0


def ranking_table(split: Split, policy: Policy, users: IntArray, k: int) -> pa.Table:
    """Return the first `k` of a full ranking against the test rows: `k` rows for each user who has some.

    Where a policy has fewer to show, the rest of the rows have no item.
    """
    train = split.train
    found = rank(policy, train, split.test, users, k)
    users_of = np.repeat(found.users, k)
    ids = train.catalog.ids
    return pa.table(
        {
            "user_id": pa.array(train.users.ids[users_of].tolist()),
            "rank": np.tile(np.arange(k, dtype=np.int32), len(found.users)),
            "item_id": pa.array([None if item == EMPTY else ids[item] for item in found.items.reshape(-1).tolist()]),
            "relevant": found.relevant.reshape(-1),
            "relevant_count": np.repeat(found.wanted, k).astype(np.int64),
        }
    )


def _first_context(history: Dataset, users: IntArray, candidates: IntArray | None, leave_out_past: bool) -> Context:
    nothing = np.empty((len(users), 0), dtype=np.int32)
    return Context(
        history,
        users,
        np.zeros(len(users), np.int32),
        nothing,
        nothing.astype(np.int8),
        policy_luck(luck_of(0, users)),
        leave_out_past,
        candidates=candidates,
    )
