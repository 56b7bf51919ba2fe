"""A run's own log as the reviewers read it: what was said of the users holds for the sessions that were ranked."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import FloatArray, IntArray
from simenv.dataset import disliked_to, liked_from
from simenv.eventlog import grade_numbers
from simenv.pages import EMPTY, Grade, Page, Reaction, Turn
from simenv.rundir import RunDir

from .bench import Played
from .results import LIMITS, Result, unmeasured
from .review import Scale, reviewed


def review_log(run: RunDir) -> Result:
    """Review the sessions of a complete run."""
    manifest = run.manifest
    labels = [policy["label"] for policy in manifest["policies"]]
    users, seeds, size = manifest["users"], len(manifest["seeds"]), manifest["page_size"]
    logs = {label: _played(run, label, size) for label in labels}
    if any(played.count != users * seeds for played in logs.values()):
        return unmeasured("review", "sessions are missing from the log")
    ratings = run.events["rating"].to_numpy()
    known = np.isfinite(ratings).any()
    scale = Scale(liked_from(ratings), disliked_to(ratings)) if known else Scale(np.inf, -np.inf)
    return reviewed(logs, scale, users, LIMITS)


def _played(run: RunDir, label: str, size: int) -> Played:
    """Return a policy's sessions; their seats are by seed, then by user, as the log stands."""
    pages, events = (table.filter(pc.equal(table["policy"], label)) for table in (run.pages, run.events))
    seat_of, page_of = _code(pages), _code(events)
    seats = np.unique(seat_of)
    seat, number = np.searchsorted(seats, seat_of), pages["page"].to_numpy().astype(np.int64)
    span = int(number.max(initial=0)) + 1
    place = np.searchsorted(seat * span + number, np.searchsorted(seats, page_of) * span + events["page"].to_numpy())
    rank = events["rank"].to_numpy()
    items = np.full((len(pages), size), EMPTY, dtype=np.int32)
    grades = np.full(items.shape, Grade.UNSEEN, dtype=np.int8)
    ratings = np.full(items.shape, np.nan)
    items[place, rank] = 0  # which item it was makes no odds
    grades[place, rank] = grade_numbers(events["grade"])
    ratings[place, rank] = events["rating"].to_numpy()
    turns = []
    for page in range(span):
        rows = np.flatnonzero(number == page)
        shown = Page(seat[rows], seat[rows], number[rows], items[rows])
        turns.append(Turn(shown, _reaction(pages, rows, grades, ratings), items[rows] < EMPTY, rows < 0))
    return Played(turns, len(seats))


def _code(table: pa.Table) -> IntArray:
    """Return a number for each row's session, rising as the log does."""
    seeds = table["seed"].to_numpy().astype(np.int64)
    ids = pa.chunked_array(table["user_id"]).combine_chunks()
    order = {one: place for place, one in enumerate(sorted(set(ids.to_pylist())))}
    return seeds * len(order) + np.array([order[one] for one in ids.to_pylist()], dtype=np.int64)


def _reaction(pages: pa.Table, rows: IntArray, grades: IntArray, ratings: FloatArray) -> Reaction:
    some = pages.take(pa.array(rows))
    causes = np.array([cause or "" for cause in some["exit_cause"].to_pylist()], dtype=object)
    told = some["remembered"].to_pylist() if "remembered" in some.column_names else None
    return Reaction(
        grades[rows].astype(np.int8),
        ratings[rows],
        some["satisfaction"].to_numpy(),
        some["exit"].to_numpy(),
        causes,
        words=some["words"].to_pylist(),
        remembered=told,
    )
