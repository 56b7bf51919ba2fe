"""The plainest code we could write: a matrix product, a scatter and the 20 best of a row."""

from typing import Any

import numpy as np
import torch
from million import Log
from serving import Unit, serve

BATCH = 256  # the fastest of 128, 256, 512 and 1,024


def recommend(log: Log) -> Unit:
    """List 20 items for every user, those seen left out, ordered best first."""
    rng = np.random.default_rng(0)
    users = rng.normal(size=(log.user_count, 64)).astype(np.float32)
    items = np.ascontiguousarray(rng.normal(size=(log.item_count, 64)).astype(np.float32).T)
    starts = np.searchsorted(log.users, np.arange(log.user_count + 1))
    flat = (log.users % BATCH).astype(np.int64) * log.item_count + log.items

    def unit() -> dict[str, Any]:
        for begin in range(0, log.user_count, BATCH):
            end = min(begin + BATCH, log.user_count)
            scores = users[begin:end] @ items
            scores.reshape(-1)[flat[starts[begin] : starts[end]]] = -np.inf
            torch.topk(torch.from_numpy(scores), 20, dim=1)
        return {"units": log.user_count}

    return unit


if __name__ == "__main__":
    serve({"recommend": recommend})
