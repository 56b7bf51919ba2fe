"""implicit: BPR in Cython, and its lists of 20 for all users in one call."""

from typing import Any

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from million import Log
from scipy import sparse
from serving import Unit, serve

EPOCHS = 3  # a unit: one alone is over in a third of a second


def fitted(log: Log) -> tuple[BayesianPersonalizedRanking, sparse.csr_matrix]:
    """Return a model after a few epochs, and the matrix that it was fitted to."""
    shape = (log.user_count, log.item_count)
    seen = sparse.csr_matrix((np.ones(len(log.users), np.float32), (log.users, log.items)), shape=shape)
    model = BayesianPersonalizedRanking(
        factors=64, learning_rate=0.05, iterations=EPOCHS, num_threads=1, random_state=0
    )
    model.fit(seen, show_progress=False)
    return model, seen


def bpr(log: Log) -> Unit:
    """Go on from where the last fit ended: as many draws an epoch as there are rows."""
    model, seen = fitted(log)

    def unit() -> dict[str, Any]:
        model.fit(seen, show_progress=False)
        return {"units": EPOCHS * len(log.users)}

    return unit


def recommend(log: Log) -> Unit:
    """List 20 items for every user, those seen left out."""
    model, seen = fitted(log)
    users = np.arange(log.user_count)

    def unit() -> dict[str, Any]:
        model.recommend(users, seen, N=20, filter_already_liked_items=True)
        return {"units": log.user_count}

    return unit


if __name__ == "__main__":
    serve({"bpr": bpr, "recommend": recommend})
