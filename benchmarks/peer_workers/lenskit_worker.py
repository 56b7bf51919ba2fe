"""LensKit: implicit ALS behind its standard pipeline, users by the batch runner."""

from typing import Any

import pandas as pd
from lenskit.als import ImplicitMFScorer
from lenskit.batch import recommend
from lenskit.data import from_interactions_df
from lenskit.pipeline import topn_pipeline
from million import Log
from serving import Unit, serve

USERS = 604  # a unit: a tenth of all


def lists(log: Log) -> Unit:
    """List 20 items for some of the users, those seen left out; one epoch is enough to time it."""
    table = pd.DataFrame({"user_id": log.users, "item_id": log.items})
    pipeline = topn_pipeline(ImplicitMFScorer(embedding_size=64, epochs=1))
    pipeline.train(from_interactions_df(table))
    users = list(range(0, log.user_count, max(1, log.user_count // USERS)))[:USERS]

    def unit() -> dict[str, Any]:
        found = recommend(pipeline, users, 20, n_jobs=1)
        assert sum(len(one) for one in found.lists()) == 20 * len(users)
        return {"units": len(users)}

    return unit


if __name__ == "__main__":
    serve({"recommend": lists})
