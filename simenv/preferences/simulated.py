"""Records from a simulation: every page that a user was shown, and what became of its items."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import BoolArray, FloatArray, GradeArray, IntArray
from simenv.dataset import Dataset
from simenv.errors import DataError, RunError
from simenv.pages import GRADE_WORDS, Grade
from simenv.rundir import RunDir
from simenv.splits import Split

from .leaks import guard
from .pasts import WINDOW, past_of
from .records import Graded, Records, begins, make_records, spread

BELIEF = {"repaired": 0.5, "partly": 0.5, "failed": 0.0}  # confidence by how an agent's answer was read; else 1


def simulated(
    run: RunDir,
    split: Split,
    *,
    window: int = WINDOW,
    policies: Sequence[str] | None = None,
    leaks: str = "refuse",
) -> Records:
    """Return a record for each page of a run's event log.

    Its past are the user's training rows, then what was viewed or liked on the session's pages before.
    `leaks` says what becomes of items that were held out for the same user: 'refuse', 'drop' or 'keep'.
    """
    return guard(pages_of(run, split.train, window=window, policies=policies), split, leaks)


def without_an_answer(run: RunDir, policies: Sequence[str] | None = None) -> dict[str, int]:
    """Return how many shown items no record grades: users did not look at them, or nobody knows their answer."""
    events = _of_policies(run, policies)
    known = _is_known(run, events)
    unseen = pc.equal(events["grade"].cast(pa.string()), GRADE_WORDS[Grade.UNSEEN]).to_numpy()
    return {"items_not_looked_at": int((unseen & known).sum()), "items_with_unknown_grade": int((~known).sum())}


def pages_of(run: RunDir, train: Dataset, *, window: int = WINDOW, policies: Sequence[str] | None = None) -> Records:
    """Return a record for each page of a run's event log, whatever was held out."""
    _check_same_data(run, train)
    events = _of_policies(run, policies)
    users, items = (
        index_of(train.users.ids, events["user_id"], "user"),
        index_of(train.catalog.ids, events["item_id"], "item"),
    )
    grades = _grades(run, events)
    ratings = events["rating"].to_numpy().astype(np.float32)
    policy, labels = _coded(events["policy"])
    seeds, pages = events["seed"].to_numpy(), events["page"].to_numpy()
    session = _changes(policy, seeds, users)
    page = _changes(session, pages)
    firsts = np.flatnonzero(np.diff(page, prepend=-1))
    candidates = Graded(begins(np.bincount(page)), items, grades, ratings)
    return make_records(
        users[firsts],
        _history(train, candidates, users[firsts], session[firsts], window),
        candidates,
        "simulated",
        positions=events["rank"].to_numpy(),
        run=run.folder.resolve().name,
        policies=labels[policy[firsts]],
        seeds=seeds[firsts],
        pages=pages[firsts],
        confidence=_confidence(run, events)[firsts],
    )


def index_of(ids: Any, wanted: pa.ChunkedArray | pa.Array, what: str, where: str = "the run's log") -> IntArray:
    """Return the index of each id, or say which row bears an unknown one."""
    known = pa.array(ids.tolist())
    try:
        found = pc.index_in(wanted.cast(known.type), value_set=known)
    except pa.ArrowException:
        raise DataError(f"{where}: its {what} ids are {wanted.type}, those of the data set {known.type}") from None
    if found.null_count:
        row = int(np.argmax(found.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(
            f"{where}, row {row + 1}: no {what} {wanted[row].as_py()} in the data set;"
            " it was made with other data than these"
        )
    return found.to_numpy().astype(np.int32)


def _check_same_data(run: RunDir, train: Dataset) -> None:
    facts = run.manifest.get("dataset")
    known = facts.get("fingerprint") if isinstance(facts, dict) else None
    if known != train.fingerprint:
        raise RunError(
            f"{run.folder}: its training rows were others than those that {train.name} has now;"
            " give it the data and the split that it was run with"
        )


def _of_policies(run: RunDir, policies: Sequence[str] | None) -> pa.Table:
    events = run.events
    if policies is None:
        return events
    there = sorted(pc.unique(events["policy"]).to_pylist())
    if not policies:
        raise RunError(f"{run.folder}: no policy is named; there are {', '.join(there)}")
    for policy in policies:
        if policy not in there:
            raise RunError(f"{run.folder}: no policy '{policy}' in its log; there are {', '.join(there)}")
    return events.filter(pc.is_in(events["policy"].cast(pa.string()), pa.array(list(policies))))


def _grades(run: RunDir, events: pa.Table) -> GradeArray:
    grades = index_of(GRADE_WORDS, events["grade"].cast(pa.string()), "grade").astype(np.int8)
    grades[~_is_known(run, events)] = Grade.UNSEEN
    return grades


def _is_known(run: RunDir, events: pa.Table) -> BoolArray:
    """Return which grades are the user's own answer; a replayed user's is a guess where their log has none."""
    if "known" not in events.column_names:
        raise RunError(
            f"{run.folder}: its events have no column 'known', which says whether a grade is the user's own answer;"
            " an older simenv wrote them: run the scenario again"
        )
    return events["known"].to_numpy().astype(bool)


def _confidence(run: RunDir, events: pa.Table) -> FloatArray:
    """Return how far each event's page is what the user said: less where the answer was hard to read."""
    if "reading" not in run.pages.column_names:
        return np.ones(len(events), dtype=np.float32)
    keys = ["policy", "seed", "user_id", "page"]
    pages = run.pages.select([*keys, "reading"])
    belief = [BELIEF.get(reading, 1.0) for reading in pages["reading"].to_pylist()]
    of_page = dict(zip(zip(*(pages[name].to_pylist() for name in keys), strict=True), belief, strict=True))
    wanted = zip(*(events[name].to_pylist() for name in keys), strict=True)
    return np.array([of_page.get(one, 1.0) for one in wanted], dtype=np.float32)


def _coded(column: pa.ChunkedArray) -> tuple[IntArray, Any]:
    flat = column.cast(pa.string()).combine_chunks().dictionary_encode()
    return flat.indices.to_numpy(), np.array(flat.dictionary.to_pylist(), dtype=object)


def _changes(*columns: IntArray) -> IntArray:
    """Return the number of each row's group; a group ends where any column changes."""
    new = np.zeros(len(columns[0]), dtype=bool)
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.cumsum(new)


def _history(train: Dataset, pages: Graded, users: IntArray, sessions: IntArray, window: int) -> Graded:
    """Return the last items before each page: of the training rows, then of what was taken earlier in the session."""
    past = past_of(train, users, window)
    taken = pages.where(pages.grades >= Grade.VIEWED)
    first_page = np.searchsorted(sessions, sessions)  # of the same session
    gained = taken.starts[np.arange(len(pages))] - taken.starts[first_page]
    recent = np.minimum(gained, window)
    kept = np.minimum(past.lengths, window - recent)
    lengths = np.stack([kept, recent], axis=1).reshape(-1)
    starts = np.stack([past.starts[1:] - kept, len(past.items) + taken.starts[:-1] - recent], axis=1).reshape(-1)
    at = spread(starts, lengths)
    return Graded(
        begins(kept + recent),
        np.concatenate([past.items, taken.items])[at],
        np.concatenate([past.grades, taken.grades])[at],
        np.concatenate([past.ratings, taken.ratings])[at],
    )
