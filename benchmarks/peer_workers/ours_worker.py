"""Our own recommenders, run as the peers are."""

from collections.abc import Callable
from typing import Any

import numpy as np
from million import Log, positions, quality, some_users
from serving import Unit, option, serve

from simenv.catalog import Catalog
from simenv.context import Context
from simenv.dataset import Dataset, Users
from simenv.interactions import Interactions
from simenv.loop import luck_of, policy_luck

WINDOW = 50
EVERY = 8  # a unit of SASRec is an epoch of every eighth user, as with RecTools
STEPS = 10  # of LightGCN in a unit
BATCH = 1024  # users asked at once, as `simenv.ranking` does


def dataset(log: Log) -> Dataset:
    """Return the training rows as a data set."""
    nameless = np.full(log.item_count, None, dtype=object)
    catalog = Catalog(
        np.arange(log.item_count), nameless, ((),) * log.item_count, nameless, np.full(log.item_count, np.nan)
    )
    rows, _ = Interactions.sort(log.users, log.items, order=np.arange(len(log.users)))
    return Dataset("million", catalog, Users(np.arange(log.user_count)), rows)


def contexts(data: Dataset) -> list[Context]:
    """Return all users before their first page."""
    found = []
    for begin in range(0, len(data.users), BATCH):
        users = np.arange(begin, min(begin + BATCH, len(data.users)), dtype=np.int32)
        nothing = np.empty((len(users), 0), dtype=np.int32)
        luck = policy_luck(luck_of(0, users))
        found.append(Context(data, users, np.zeros_like(users), nothing, nothing.astype(np.int8), luck))
    return found


def epochs(make: Callable[[], Any], count: Callable[[Log], int], times: int = 1) -> Callable[[Log], Unit]:
    """Return a task of whole epochs."""

    def task(log: Log) -> Unit:
        policy = make()
        policy.begin(dataset(log))
        done = 0

        def unit() -> dict[str, Any]:
            nonlocal done
            for _ in range(times):
                policy.epoch(done)
                done += 1
            return {"units": times * count(log)}

        return unit

    return task


def bpr() -> Any:
    from simenv.recommenders.bpr import BPR

    return BPR(dimensions=64)


def multvae() -> Any:
    from simenv.recommenders.multvae import MultVAE

    return MultVAE(hidden=600, latent=64, batch_size=2048)


def lightgcn(size: int) -> Callable[[Log], Unit]:
    """Return a task of a few steps on batches of this size."""

    def task(log: Log) -> Unit:
        from simenv.recommenders.lightgcn import LightGCN

        policy = LightGCN(dimensions=64, layers=3, loss="bpr", batch_size=size)
        policy.begin(dataset(log))
        rng = np.random.default_rng(0)
        owners, chosen = log.users, log.items

        def unit() -> dict[str, Any]:
            for _ in range(STEPS):
                rows = rng.integers(len(owners), size=size)
                policy.step(owners[rows], chosen[rows], rng, policy.learning_rate)
            return {"units": STEPS}

        return unit

    return task


def sasrec(negatives: int) -> Callable[[Log], Unit]:
    """Return a task of some users' histories, all rows of them; 6,400 places are 128 windows."""

    def task(log: Log) -> Unit:
        from simenv.recommenders.sasrec import SASRec

        some = some_users(log, EVERY)
        policy = SASRec(dimensions=64, layers=2, window=WINDOW, negatives=negatives, batch_size=128 * WINDOW)
        policy.begin(dataset(some))

        def unit() -> dict[str, Any]:
            policy.epoch(0)
            return {"units": positions(some)}

        return unit

    return task


def sasrec_quality(negatives: int = 0, share: bool = False) -> Callable[[Log], Unit]:
    """Return a task of some epochs of all users and 20 items for each.

    With `share` so many epochs that as many positions are learnt from as in windows of the last rows alone.
    """

    def task(log: Log) -> Unit:
        from simenv.recommenders.sasrec import SASRec

        data, seed, count = dataset(log), 0, option("epochs", 3)
        if share:
            count = max(1, round(count * positions(log, WINDOW) / positions(log)))

        def unit() -> dict[str, Any]:
            nonlocal seed
            policy = SASRec(
                dimensions=64,
                layers=2,
                window=WINDOW,
                negatives=negatives,
                batch_size=128 * WINDOW,
                epochs=count,
                seed=seed,
            )
            seed += 1
            policy.fit(data)
            lists = np.concatenate([policy.recommend(context, 20) for context in contexts(data)])
            return {"units": count} | quality(log, lists)

        return unit

    return task


def recommend(log: Log) -> Unit:
    """List 20 items for every user through the policy's contract, those seen left out."""
    from simenv.recommenders.bpr import BPR

    data = dataset(log)
    policy = BPR(dimensions=64, epochs=10)
    policy.fit(data)
    asked = contexts(data)

    def unit() -> dict[str, Any]:
        for context in asked:
            policy.recommend(context, 20)
        return {"units": log.user_count}

    return unit


if __name__ == "__main__":
    serve(
        {
            "bpr": epochs(bpr, lambda log: len(log.users), times=3),
            "lightgcn-2048": lightgcn(2048),
            "lightgcn-8192": lightgcn(8192),
            "multvae": epochs(multvae, lambda log: log.user_count),
            "sasrec": sasrec(0),
            "sasrec-drawn": sasrec(512),
            "sasrec-quality": sasrec_quality(),
            "sasrec-share-quality": sasrec_quality(share=True),
            "sasrec-drawn-quality": sasrec_quality(negatives=512),
            "recommend": recommend,
        }
    )
