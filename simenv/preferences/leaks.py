"""No held-out row reaches a record: neither as what a user liked or passed over, nor in what came before.

A leak is a pair of user and item that the split holds out, for validation or test, in a record of the same
user. A simulated user may well be shown an item that was held out for them, and that shows nothing wrong with
the run; but a model that learns from their verdict on it can't be tested on it any more. A pair that is among
the training rows too, as where users take an item twice, tells nothing new and is none.
"""

from dataclasses import dataclass

import numpy as np

from simenv.arrays import BoolArray, IntArray
from simenv.dataset import Dataset
from simenv.errors import DataError
from simenv.splits import Split

from .records import NONE, Records, pair_keys

HOW = ("refuse", "drop", "keep")
NAMED = 5  # offending rows that an error names


@dataclass(frozen=True, eq=False)
class Leaks:
    """Which items of which records were held out for the same user."""

    history: BoolArray  # [H], for each item of a history
    candidates: BoolArray  # [C], for each candidate

    def __len__(self) -> int:
        return int(self.history.sum() + self.candidates.sum())


def held_out_keys(split: Split) -> IntArray:
    """Return the pairs of users and items that are held out, and not among the training rows as well; sorted."""
    parts = [pair_keys(part.users, part.items) for part in (split.valid, split.test)]
    log = split.train.interactions
    return np.setdiff1d(np.concatenate(parts), pair_keys(log.users, log.items))


def leaks_of(records: Records, split: Split) -> Leaks:
    """Return which items of the records were held out for the same user."""
    held_out = held_out_keys(split)
    return Leaks(
        np.isin(pair_keys(records.users[records.history.rows], records.history.items), held_out),
        np.isin(pair_keys(records.candidate_users, records.candidates.items), held_out),
    )


def guard(records: Records, split: Split, leaks: str = "refuse") -> Records:
    """Return the records if nothing held out is in them; else say so, or with 'drop' return them without it.

    With 'keep' they are returned as they are: a model that learns from them is to be tested on other data.
    """
    if leaks not in HOW:
        raise DataError(f"leaks {leaks}: there are {', '.join(HOW)}")
    found = leaks_of(records, split)
    if not len(found) or leaks == "keep":
        return records
    if leaks == "refuse":
        raise DataError(refusal(records, found, split.train))
    return records.where(history=~found.history, candidates=~found.candidates)


def refusal(records: Records, found: Leaks, train: Dataset) -> str:
    """Return what to say of leaks: how many, the first of them, and what can be done."""
    told = [_told(records, place, train) for place in np.flatnonzero(found.candidates)[:NAMED]]
    rows = np.flatnonzero(found.history)[: NAMED - len(told)]
    told += [f"the history of {_where(records, int(records.history.rows[row]), train)}" for row in rows]
    more = f", and {len(found) - len(told):,} more" if len(found) > len(told) else ""
    return (
        f"{len(found):,} items of the records were held out for the same user, so a model that learns from them cannot"
        f" be tested on them: {'; '.join(told)}{more}. --leaks drop leaves them out;"
        " --leaks keep takes them, for a model that is tested on other data"
    )


def _told(records: Records, place: int, train: Dataset) -> str:
    row = int(records.candidates.rows[place])
    rank = records.positions[place]
    where = "" if rank == NONE else f", rank {rank}"
    return f"item {train.catalog.ids[records.candidates.items[place]]} in {_where(records, row, train)}{where}"


def _where(records: Records, row: int, train: Dataset) -> str:
    parts = [f"user {train.users.ids[records.users[row]]}"]
    parts += [records.policies[row]] if records.policies[row] else []
    parts += [f"seed {records.seeds[row]}"] if records.seeds[row] != NONE else []
    parts += [f"page {records.pages[row]}"] if records.pages[row] != NONE else [f"record {row + 1}"]
    return ", ".join(parts)
