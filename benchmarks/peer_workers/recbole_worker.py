"""RecBole: its own data sets, models and trainer; epochs where they are cheap, else a few steps."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from million import Log
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.utils import create_samplers, get_dataloader
from recbole.utils import get_model, get_trainer, init_seed
from serving import Unit, serve

SETTING = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "TO", "group_by": "user", "mode": "full"},
    "embedding_size": 64,
    "train_batch_size": 2048,
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
}


def trainer(log: Log, name: str, **setting: Any) -> tuple[Any, Any]:
    """Return RecBole's trainer of a model and its training batches."""
    folder = Path(tempfile.mkdtemp(prefix="recbole-", dir=Path(sys.argv[2]).parent.resolve()))
    os.chdir(folder)  # it leaves logs and checkpoints where it stands
    (folder / "log").mkdir()
    table = np.column_stack([log.users, log.items, np.arange(len(log.users))])
    np.savetxt(
        folder / "log" / "log.inter",
        table,
        fmt="%d",
        delimiter="\t",
        comments="",
        header="user_id:token\titem_id:token\ttimestamp:float",
    )
    config = Config(name, "log", config_dict=SETTING | setting | {"data_path": str(folder)})
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    built = dataset.build()
    sampler, _, _ = create_samplers(config, dataset, built)
    batches = get_dataloader(config, "train")(config, built[0], sampler, shuffle=True)
    model = get_model(name)(config, batches._dataset)
    return get_trainer(config["MODEL_TYPE"], name)(config, model), batches


def epochs(rows: Callable[[Log], int], name: str, **setting: Any) -> Callable[[Log], Unit]:
    """Return a task of whole epochs."""

    def task(log: Log) -> Unit:
        training, batches = trainer(log, name, **setting)

        def unit() -> dict[str, Any]:
            training._train_epoch(batches, 0)
            return {"units": rows(log)}

        return unit

    return task


def steps(count: int, size: int, name: str, **setting: Any) -> Callable[[Log], Unit]:
    """Return a task of a few training steps; `size` is what one counts for."""

    def task(log: Log) -> Unit:
        training, batches = trainer(log, name, **setting)

        def forever() -> Iterator[Any]:
            while True:
                yield from batches

        endless = forever()

        def unit() -> dict[str, Any]:
            training._train_epoch(islice(endless, count), 0)
            return {"units": count * size}

        return unit

    return task


SEQUENCES = {
    "n_layers": 2,
    "n_heads": 1,
    "hidden_size": 64,
    "inner_size": 256,
    "MAX_ITEM_LIST_LENGTH": 50,
    "loss_type": "CE",
    "train_neg_sample_args": None,
}

if __name__ == "__main__":
    serve(
        {
            "bpr": epochs(lambda log: len(log.users), "BPR"),
            "lightgcn": steps(3, 1, "LightGCN", n_layers=3),
            # Half of its latent layer are the variances: 128 make the 64 dimensions of the others.
            "multvae": epochs(
                lambda log: log.user_count,
                "MultiVAE",
                mlp_hidden_size=[600],
                latent_dimension=128,
                train_neg_sample_args=None,
            ),
            "sasrec": steps(1, 2048, "SASRec", **SEQUENCES),
        }
    )
