"""What stands on a page of each item: its facts, and a text that may come from the data, a model or an earlier run."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simenv.arrays import FloatArray
from simenv.chat.crowd import Crowd
from simenv.dataset import Dataset
from simenv.errors import RunError, SimenvError
from simenv.pages import EMPTY
from simenv.rundir import ITEM_TEXTS, RunDir

from .agent import Shown
from .items import ItemMemory, item_memory
from .stars import stars_of
from .writing import Writer


class Shelf:
    """The items as agents see them; with a writer an item is described by it when it is first shown."""

    def __init__(
        self,
        dataset: Dataset,
        show: Sequence[str],
        writer: Writer | None = None,
        texts: Mapping[int, str] | None = None,
    ) -> None:
        self.dataset, self.show, self.writer = dataset, show, writer
        self._texts = texts or {}
        self._memories: dict[int, ItemMemory] = {}
        self._shown: dict[int, Shown] = {}
        self._written: dict[int, asyncio.Future[None]] = {}
        log, count = dataset.interactions, len(dataset.catalog)
        rated = np.isfinite(log.ratings)
        counts = np.bincount(log.items[rated], minlength=count)
        sums = np.bincount(log.items[rated], log.ratings[rated], count)
        means: FloatArray = np.divide(sums, counts, out=np.full(count, np.nan), where=counts > 0)
        self._means = stars_of(dataset).of(means)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: an item that was described already is not described again."""
        done = {item: self._memories[item].text for item, future in self._written.items() if future.done()}
        return self.__dict__ | {"_written": {}, "_texts": {**self._texts, **done}}

    def memory(self, item: int) -> ItemMemory:
        """Return what an item says of itself."""
        if item not in self._memories:
            memory = self._memories[item] = item_memory(self.dataset.catalog, item)
            if item in self._texts:
                memory.rewrite(self._texts[item])
        return self._memories[item]

    def shown(self, item: int) -> Shown | None:
        """Return an item as it stands on a page; None for an empty place."""
        if item == EMPTY:
            return None
        if item not in self._shown:
            memory, mean = self.memory(item), self._means[item]
            self._shown[item] = Shown(
                memory.title,
                memory.categories,
                memory.text,
                f"{mean:.1f}" if "rating" in self.show and np.isfinite(mean) else "",
                f"{self.dataset.popularity[item]:,}" if "popularity" in self.show else "",
            )
        return self._shown[item]

    async def describe(self, items: Sequence[int]) -> None:
        """Have those items described that are shown for the first time; who comes meanwhile waits for the same."""
        if self.writer is not None:
            await asyncio.gather(*(self._describe(item, self.writer) for item in items if item != EMPTY))

    async def _describe(self, item: int, writer: Writer) -> None:
        if item in self._texts:
            return
        written = self._written.get(item)
        if written is not None and not written.cancelled():
            await asyncio.shield(written)
            return
        written = self._written[item] = asyncio.get_running_loop().create_future()
        try:
            await writer.item(item, self.memory(item))
            self._shown.pop(item, None)
        except BaseException:
            del self._written[item]
            written.cancel()  # who waits for it stops as well
            raise
        written.set_result(None)

    def recollect(self, events: pa.Table) -> None:
        """Have those items described again that the log shows and another process had described, before a crash."""
        shown = self.dataset.catalog.index(events["item_id"].unique().to_pylist()).tolist()
        Crowd[int, None]().all((item, self.describe([item])) for item in shown)

    def told(self) -> list[dict[str, Any]]:
        """Return the items whose texts were written, as JSON holds them."""
        ids = self.dataset.catalog.ids
        return [
            {"item_id": _plain(ids[item]), "text": memory.text, "before": memory.versions, "read": memory.read}
            for item, memory in sorted(self._memories.items())
            if memory.read
        ]


def texts_of_run(told: str | Mapping[str, Any], dataset: Dataset) -> dict[int, str]:
    """Return what a run says of items at its end, by item; `told` is its folder, or that with a policy and a seed."""
    options: dict[str, Any] = {"run": told} if isinstance(told, str) else dict(told)
    run = RunDir.open(Path(str(options.pop("run", ""))).expanduser())
    if set(options) - {"policy", "seed"}:
        raise SimenvError(f"item_texts: {', '.join(options)}; a run's texts are named by run, policy and seed")
    rows = run.read_lines(ITEM_TEXTS)
    if not rows:
        raise RunError(
            f"{run.folder}: no texts of items here ({ITEM_TEXTS}); a run leaves them with item_texts: written,"
            " or with afterwards: [items]"
        )
    if run.manifest.get("dataset", {}).get("fingerprint") != dataset.fingerprint:
        raise RunError(
            f"{run.folder}: its texts of items were learnt on other data or another split, so they may tell of other"
            " items, or of what is held out here; play that run on the same rows"
        )
    there = sorted({(row.get("policy"), row.get("seed")) for row in rows}, key=str)
    wanted = [one for one in there if all(one[("policy", "seed").index(name)] == options[name] for name in options)]
    if len(wanted) != 1:
        names = "; ".join(f"policy {policy}, seed {seed}" for policy, seed in there)
        raise SimenvError(f"item_texts: say of which policy and seed: {run.folder} holds {names}")
    chosen = [row for row in rows if (row.get("policy"), row.get("seed")) == wanted[0]]
    items = dataset.catalog.index([row["item_id"] for row in chosen]).tolist()
    return {item: str(row["text"]) for item, row in zip(items, chosen, strict=True)}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
