"""RecTools: SASRec on every position of a window with the full softmax, by its own trainer."""

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from million import Log, positions, quality, some_users
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from serving import Unit, option, serve

WINDOW = 50
EVERY = 8  # a unit is an epoch of every eighth user
warnings.filterwarnings("ignore")


class Stopwatch(Callback):
    """Times the training epochs alone, without the making of batches' data set."""

    def on_train_epoch_start(self, *_: Any) -> None:
        self.begin = time.process_time()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.spent = time.process_time() - self.begin


def model(**setting: Any) -> SASRecModel:
    """Return a model of the sizes that all are measured at."""

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            accelerator="cpu",
            devices=1,
            callbacks=[Stopwatch()],
        )

    return SASRecModel(
        n_factors=64,
        n_blocks=2,
        n_heads=1,
        session_max_len=WINDOW,
        batch_size=128,
        loss="softmax",
        get_trainer_func=trainer,
        **setting,
    )


def data(log: Log) -> Dataset:
    """Return the training rows; their order stands for the time."""
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: log.users,
                Columns.Item: log.items,
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(np.arange(len(log.users)), unit="s"),
            }
        )
    )


def sasrec(log: Log) -> Unit:
    """Train some users' windows; what counts are the positions that are no padding."""
    some = some_users(log, EVERY)
    dataset, learner = data(some), model()

    def unit() -> dict[str, Any]:
        learner.fit_partial(dataset, min_epochs=1, max_epochs=1)
        watch = next(one for one in learner.fit_trainer.callbacks if isinstance(one, Stopwatch))
        return {"units": positions(some, WINDOW), "cpu_seconds": watch.spent}

    return unit


def sasrec_quality(log: Log) -> Unit:
    """Train all users for some epochs and list 20 items for each."""
    dataset, seed = data(log), 0

    def unit() -> dict[str, Any]:
        nonlocal seed
        seed_everything(seed)
        seed += 1
        count, learner = option("epochs", 3), model()
        learner.fit_partial(dataset, min_epochs=count, max_epochs=count)
        users = np.arange(log.user_count)
        found = learner.recommend(users, dataset, k=20, filter_viewed=True).sort_values([Columns.User, Columns.Rank])
        return {"units": count} | quality(log, found[Columns.Item].to_numpy().reshape(log.user_count, 20))

    return unit


if __name__ == "__main__":
    serve({"sasrec": sasrec, "sasrec-quality": sasrec_quality})
