"""Candidate lists that came with the data: the few items a user among which a held-out one is to be found.

LLMRank (Hou et al. 2024, "Large Language Models are Zero-Shot Rankers for Recommender Systems") publishes, for each
subset of users and each strategy, what was retrieved for them. The held-out item is not among it but by accident: the
lists are cut to one less than wanted, and it is added.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import IntArray
from simenv.dataset import Dataset
from simenv.errors import DataError
from simenv.interactions import Interactions

from .assembly import as_ids, positions
from .checks import need_file, problem, shown
from .parquetfile import read_parquet

LLMRANK = "candidates_llmrank.parquet"


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Who is asked, and among which items."""

    users: IntArray  # [U], in order
    items: IntArray  # [U, C], the held-out item last
    subset: str


def read_llmrank(
    path: Path,
    dataset: Dataset,
    held: Interactions,
    *,
    strategy: str = "random",
    subset: str | None = None,
    count: int = 20,
) -> Candidates:
    """Return each user's first `count` - 1 candidates other than the held-out item, and that one after them.

    Unless told, the subset is the one with the most users, on which the published baselines were measured.
    """
    file = shown(path)
    remedy = "copy LLMRank's lists there (parquet: subset, strategy, user_id, item_ids), or give candidates.path"
    need_file(path, remedy)
    table = read_parquet(path, ("subset", "strategy", "user_id", "item_ids"))
    if not table.num_rows:
        raise DataError(problem(file, "no row in it", remedy))
    if subset is None:
        sizes = pc.value_counts(table["subset"].cast(pa.string())).to_pylist()
        subset = max(sizes, key=lambda size: (size["counts"], size["values"]))["values"]
    for column, wanted in (("subset", subset), ("strategy", strategy)):
        there = pc.equal(table[column].cast(pa.string()), wanted)
        if not pc.any(there).as_py():
            known = ", ".join(sorted(map(str, pc.unique(table[column]).to_pylist())))
            raise DataError(problem(file, f"no row of {column} '{wanted}'", f"there are {known}"))
        table = table.filter(there)
    if not pa.types.is_list(table["item_ids"].type):
        raise DataError(problem(file, f"column 'item_ids' is {table['item_ids'].type}", "give a list of ids a row"))
    users = _known(table["user_id"], dataset.users.ids, "user", file, dataset)
    lists = table["item_ids"].combine_chunks()
    items = _known(lists.flatten(), dataset.catalog.ids, "item", file, dataset)
    starts = np.concatenate([[0], np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy())])
    truth = _truth(held, users, dataset, file)
    found = np.empty((len(users), count), dtype=np.int32)
    for row, user in enumerate(users.tolist()):
        others = items[starts[row] : starts[row + 1]]
        _, first = np.unique(others, return_index=True)
        others = others[np.sort(first)]  # some lists name an item twice
        others = others[others != truth[row]]
        if len(others) < count - 1:
            what = f"user {dataset.users.ids[user]} has {len(others)} different candidates beside the held-out item"
            raise DataError(problem(file, what, f"at most {len(others) + 1} can be ranked"))
        found[row] = [*others[: count - 1], truth[row]]
    order = np.argsort(users, kind="stable")
    if len(np.unique(users)) < len(users):
        raise DataError(problem(file, f"a user stands twice in {subset}, {strategy}", "keep one list for each"))
    return Candidates(users[order], found[order], subset)


def _known(column: pa.ChunkedArray, ids: IntArray, what: str, file: str, dataset: Dataset) -> IntArray:
    """Return where the ids stand in the data set, all of which it must know."""
    named = as_ids(column, f"{file}: {what}")
    try:
        found = positions(named, ids)
    except (pa.ArrowException, TypeError):
        raise DataError(
            problem(file, f"its {what} ids are not written as those of {dataset.name}", "write both alike")
        ) from None
    if (found < 0).any():
        stranger = named[int((found < 0).argmax())].as_py()
        raise DataError(
            problem(file, f"{what} {stranger} is not in {dataset.name}", "give the lists that belong to these data")
        )
    return found


def _truth(held: Interactions, users: IntArray, dataset: Dataset, file: str) -> IntArray:
    """Return the one held-out item of each user."""
    counts = np.bincount(held.users, minlength=len(dataset.users))[users]
    for user, count in zip(users.tolist(), counts.tolist(), strict=True):
        if count != 1:
            what = f"user {dataset.users.ids[user]} has {count} test rows, where these lists want one"
            raise DataError(problem(file, what, "split: leave-one-out, or as published, gives each user one"))
    return held.items[np.searchsorted(held.users, users)]
