"""AgentCF's ranking of ten candidates on its own data, beside the same agents before they learnt anything.

The scripted stand-in unless a model is named; its figures say that the loop works, nothing of language models.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from simenv.agents.agentcf import AgentCF, Mode
from simenv.arrays import IntArray
from simenv.chat.opening import open_model
from simenv.dataset import Dataset
from simenv.intervals import means
from simenv.ranking import qualities
from simenv.readers import open_dataset
from simenv.splits import as_published

from .record import Row, update

CUTS = (1, 5, 10)
CHANCE = {1: 0.100, 5: 0.295, 10: 0.454}  # of ten candidates in any order
MODES: tuple[Mode, ...] = ("B", "B+R", "B+H")
COUNT = 10


def main() -> None:
    """Let the agents learn on both variants of the data, and write what they rank by."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/agentcf-cds"), help="AgentCF's CDs")
    parser.add_argument("--model", default="scripted", help="'scripted', or a model's options as JSON")
    parser.add_argument("--rounds", type=int, default=2, help="of each pair, at most")
    told = parser.parse_args()
    spec = told.model if told.model == "scripted" else json.loads(told.model)
    name = spec if isinstance(spec, str) else spec["model"]
    for variant in ("dense", "sparse"):
        dataset = open_dataset(told.data, where={"variant": variant})
        split = as_published(dataset)
        history = split.train
        users, candidates, wanted = asked(told.data, variant, dataset, split.test)
        start, agents = (AgentCF(open_model(spec), rounds=told.rounds) for _ in range(2))
        start.fit(history.only(history.interactions[np.arange(0)]), users)
        agents.fit(history, users)
        rows = list(figures(f"{variant}, {name}: before", start.rank(users, candidates), wanted))
        for mode in MODES:
            rows += figures(f"{variant}, {name}: {mode}", agents.rank(users, candidates, mode), wanted)
        right, drift = np.array([one for one in agents.right if one is not None]), agents.drift()
        half = len(right) // 2
        for part, values in (("first half", right[:half]), ("second half", right[half:])):
            rows.append(row(f"{variant}, {name}: right at first, {part} of the pairs", values.astype(float)))
        rows.append(row(f"{variant}, {name}: drift of items' texts", drift))
        update("agentcf", "make bench-agentcf", rows, f"{variant}, {name}: ")


def asked(folder: Path, variant: str, dataset: Dataset, held: object) -> tuple[IntArray, IntArray, IntArray]:
    """Return the users, ten candidates for each (nine published ones and the held-out item), and that item."""
    table = pq.read_table(folder / "candidates.parquet").to_pylist()
    place = {item: row for row, item in enumerate(dataset.catalog.ids.tolist())}
    who = {user: row for row, user in enumerate(dataset.users.ids.tolist())}
    truth = dict(zip(held.users.tolist(), held.items.tolist(), strict=True))  # type: ignore[attr-defined]
    users, candidates = [], []
    for line in table:
        if line["variant"] != variant or who.get(line["user_id"]) not in truth:
            continue
        user = who[line["user_id"]]
        others = [place[item] for item in line["item_ids"] if place[item] != truth[user]]
        users.append(user)
        candidates.append([*others[: COUNT - 1], truth[user]])
    wanted = np.array([truth[user] for user in users])
    return np.array(users), np.array(candidates), wanted


def figures(name: str, ranked: IntArray, wanted: IntArray) -> list[Row]:
    """Return NDCG at each cut, with intervals over users."""
    found = ranked == wanted[:, None]
    values = {cut: qualities(found[:, :cut], np.ones(len(wanted), int))[:, 1] for cut in CUTS}
    return [row(f"{name}, ndcg@{cut}", one, f"a drawn order has {CHANCE[cut]}") for cut, one in values.items()]


def row(name: str, values: np.ndarray, note: str = "") -> Row:  # type: ignore[type-arg]
    """Return the mean with its interval."""
    (estimate,) = means(values[:, None])
    return Row(name, round(estimate.mean, 4), round(estimate.low, 4), round(estimate.high, 4), None, "share", note)


if __name__ == "__main__":
    main()
