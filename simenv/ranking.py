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
from .pages import EMPTY, Grade
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
    window: int | None = None,
) -> Ranking:
    """Return the first `k` of a ranking for those of the users who have held-out rows.

    All items are ranked, or for each of the users his candidates [users, C]; those of the history only if the
    past is not left out. Policies answer as before the first page of seed 0, and are told of each user's last
    `window` rows alone, where one is given; what is left out goes by the whole history.
    """
    count = len(history.catalog)
    # What is left out is not ranked, so it is not wanted either.
    wanted = new_pairs(history, held) if leave_out_past else np.unique(held.users.astype(np.int64) * count + held.items)
    tested, places, _ = np.intersect1d(users, wanted // count, return_indices=True)
    tested = tested.astype(np.int32)
    some = None if candidates is None else candidates[places]
    told = history if window is None else _recent(history, window)
    lists = []
    for begin in range(0, len(tested), BATCH):
        few = None if some is None else some[begin : begin + BATCH]
        context = _first_context(history, told, tested[begin : begin + BATCH], few, leave_out_past)
        lists.append(np.asarray(policy.recommend(context, k)))
    for page in lists:
        if page.ndim != 2 or page.shape[1] != k or page.dtype.kind not in "iu":
            raise PageError(f"a ranking of shape {page.shape} and type {page.dtype}; wanted whole numbers, {k} a user")
    ranked = np.concatenate(lists) if lists else np.empty((0, k), dtype=np.int32)
    strange = np.zeros(ranked.shape, bool) if some is None else ~(_among(ranked, some) | (ranked == EMPTY))
    if strange.any():
        row, place = np.argwhere(strange)[0]
        raise PageError(
            f"item {ranked[row, place]} for user {tested[row]} is none of his candidates; a policy that leaves"
            " the rest to context.top or context.top_products keeps to them"
        )
    items, _ = empty_repeats(ranked, np.arange(len(tested)), no_marks(len(tested), count), count, keep=True)
    codes = tested[:, None].astype(np.int64) * count + items
    counts = np.bincount(wanted // count, minlength=len(history.users))[tested]
    return Ranking(tested, items, np.isin(codes, wanted) & (items != EMPTY), counts)


def new_pairs(history: Dataset, held: Interactions) -> IntArray:
    """Return the held-out pairs that the history does not hold: user times the number of items, plus item; in order."""
    count, log = len(history.catalog), history.interactions
    named, known = (rows.users.astype(np.int64) * count + rows.items for rows in (held, log))
    return np.setdiff1d(named, known)


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


def by_chance(wanted: IntArray, left: IntArray, k: int) -> FloatArray:
    """Return what `qualities` would be on average [U, 4] if the `left` items were ranked in any order, exactly.

    Nobody has fewer than `k` left.
    """
    places = np.arange(k)
    discount = 1 / np.log2(places + 2)
    best = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(wanted, k)]
    # The chance that none of the first 1, 2, … is wanted, and that the first one wanted stands there.
    none = np.cumprod(np.maximum((left - wanted)[:, None] - places, 0) / (left[:, None] - places), axis=1)
    first = np.hstack([np.ones((len(wanted), 1)), none[:, :-1]]) - none
    gain = wanted / left * discount.sum() / best
    return np.stack([k / left, gain, 1 - none[:, -1], first @ (1 / (places + 1))], axis=1)


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


def _among(ranked: IntArray, candidates: IntArray) -> BoolArray:
    """Return which items [U, k] are among each user's candidates [U, C]."""
    size = max(int(candidates.max(initial=0)), int(ranked.max(initial=0))) + 2
    rows = np.arange(len(ranked))[:, None].astype(np.int64) * size
    return np.isin(rows + ranked + 1, rows + candidates + 1)


def _recent(history: Dataset, window: int) -> Dataset:
    """Return the same data set with each user's last rows alone."""
    log = history.interactions
    return history.only(log[np.arange(len(log)) >= history.starts[log.users + 1] - window])


def _first_context(
    history: Dataset, told: Dataset, users: IntArray, candidates: IntArray | None, leave_out_past: bool
) -> Context:
    forgotten = _forgotten(history, told, users) if leave_out_past else np.empty((len(users), 0), dtype=np.int32)
    return Context(
        told,
        users,
        np.zeros(len(users), np.int32),
        forgotten,
        np.full(forgotten.shape, Grade.UNSEEN, np.int8),
        policy_luck(luck_of(0, users)),
        leave_out_past,
        candidates=candidates,
    )


def _forgotten(history: Dataset, told: Dataset, users: IntArray) -> IntArray:
    """Return the items that must be left out but are not told of [U, S]: they go as shown and never looked at."""
    starts, log = history.starts[users], history.interactions
    more = history.starts[users + 1] - starts - (told.starts[users + 1] - told.starts[users])
    columns = np.arange(int(more.max(initial=0)))
    there = columns < more[:, None]
    items = np.full(there.shape, EMPTY, dtype=np.int32)
    items[there] = log.items[(starts[:, None] + columns)[there]]
    return items
