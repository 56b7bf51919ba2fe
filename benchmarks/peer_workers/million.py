"""A made-up million interactions, shaped like a well-known log of films: the benchmarks' default data.

Users like few of 20 topics, fame is long-tailed, nobody meets an item twice, and a user stays on a topic for a
few items before he moves on. One seed, one log.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

USERS, ITEMS, ROWS, TOPICS = 6040, 3706, 1_000_000, 20
SHORTEST, MEDIAN, LONGEST = 20, 101, 1853  # rows a user
RUN = 4  # items of one topic on end, on average
HELD_OUT = 0.2  # of each user's rows, the last ones


@dataclass(frozen=True, eq=False)
class Log:
    """Training rows and held-out rows, each sorted by user and, for each user, oldest first."""

    users: NDArray[np.int32]  # [N]
    items: NDArray[np.int32]  # [N]
    test_users: NDArray[np.int32]  # [T]
    test_items: NDArray[np.int32]  # [T]
    user_count: int
    item_count: int


def million(seed: int = 7) -> Log:
    """Return the log of this seed, each user's last fifth held out."""
    rng = np.random.default_rng(seed)
    lengths = _lengths(rng)
    topics = rng.integers(TOPICS, size=ITEMS)
    fame = -0.73 * np.log(rng.permutation(ITEMS) + 2.0)
    tastes = np.log(rng.dirichlet(np.ones(TOPICS), size=USERS) + 0.01)
    users = np.repeat(np.arange(USERS, dtype=np.int32), lengths)
    chosen = []
    for user, length in enumerate(lengths):
        drawn = fame + tastes[user, topics] + rng.gumbel(size=ITEMS)  # the best of these: drawn without return
        chosen.append(np.argpartition(-drawn, length - 1)[:length])
    items = np.concatenate(chosen).astype(np.int32)
    return cut(users, _in_runs(users, items, topics, rng), USERS, ITEMS)


def cut(users: NDArray[np.int32], items: NDArray[np.int32], user_count: int, item_count: int) -> Log:
    """Return rows that are sorted by user and age with each user's last fifth held out."""
    counts = np.bincount(users, minlength=user_count)
    from_end = np.repeat(np.cumsum(counts), counts) - np.arange(len(users))  # 1 for a user's last row
    test = from_end <= np.ceil(HELD_OUT * counts)[users]
    return Log(users[~test], items[~test], users[test], items[test], user_count, item_count)


def _lengths(rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how many rows each user has; they add up to `ROWS`."""
    spread = rng.normal(size=USERS)
    spread -= np.median(spread)
    low, high = 0.5, 2.0  # the spread that gives the sum lies between
    while high - low > 1e-9:
        middle = (low + high) / 2
        lengths = np.clip(MEDIAN * np.exp(middle * spread), SHORTEST, LONGEST)
        low, high = (middle, high) if lengths.sum() < ROWS else (low, middle)
    whole = lengths.astype(np.int64)
    short = ROWS - int(whole.sum())
    whole[np.argsort(whole - lengths, kind="stable")[:short]] += 1
    return whole


def _in_runs(
    users: NDArray[np.int32], items: NDArray[np.int32], topics: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int32]:
    """Return each user's items in an order that stays on a topic for a while."""
    rows = np.lexsort((rng.random(len(items)), topics[items], users))
    topic, user = topics[items[rows]], users[rows]
    begins = rng.random(len(rows)) < 1 / RUN
    begins[1:] |= (topic[1:] != topic[:-1]) | (user[1:] != user[:-1])
    run = np.cumsum(begins) - begins[0]
    return items[rows[np.lexsort((rng.random(run[-1] + 1)[run], user))]]


def save(log: Log, path: Path) -> None:
    """Write the log where every worker finds it."""
    np.savez(path, **asdict(log))


def load(path: Path) -> Log:
    """Read a log back."""
    with np.load(path) as file:
        columns = {name: file[name] for name in ("users", "items", "test_users", "test_items")}
        return Log(**columns, user_count=int(file["user_count"]), item_count=int(file["item_count"]))


def some_users(log: Log, every: int) -> Log:
    """Return every so manieth user's rows alone, the users numbered anew."""
    train, test = log.users % every == 0, log.test_users % every == 0
    return Log(
        log.users[train] // every,
        log.items[train],
        log.test_users[test] // every,
        log.test_items[test],
        -(-log.user_count // every),
        log.item_count,
    )


def positions(log: Log, window: int | None = None) -> int:
    """Return how many rows have one before them to be told from, a user's last `window` of them at most."""
    counts = np.maximum(np.bincount(log.users, minlength=log.user_count) - 1, 0)
    return int((counts if window is None else np.minimum(counts, window)).sum())


def quality(log: Log, lists: NDArray[np.integer]) -> dict[str, float]:
    """Return the mean NDCG of the users' lists [U, k] against all held-out rows and against the first alone."""
    gains = 1 / np.log2(np.arange(2, lists.shape[1] + 2))
    first = np.append(True, log.test_users[1:] != log.test_users[:-1])
    return {
        "ndcg": _ndcg(log, lists, gains, np.ones_like(first)),
        "next ndcg": _ndcg(log, lists, gains, first),
    }


def _ndcg(log: Log, lists: NDArray[np.integer], gains: NDArray[np.float64], rows: NDArray[np.bool_]) -> float:
    wanted = np.zeros((log.user_count, log.item_count), dtype=bool)
    wanted[log.test_users[rows], log.test_items[rows]] = True
    counts = wanted.sum(axis=1)
    best = np.concatenate([[0], np.cumsum(gains)])[np.minimum(counts, len(gains))]
    hits = np.take_along_axis(wanted, lists, axis=1)
    return float(((hits @ gains)[counts > 0] / best[counts > 0]).mean())
