"""A run's own log as the reviewers read it: what was said of the users holds for the sessions that were ranked."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import FloatArray, IntArray
from simenv.errors import RunError
from simenv.eventlog import grade_numbers
from simenv.intervals import Interval
from simenv.metrics import knows_truth
from simenv.pages import EMPTY, Grade, Page, Reaction, Turn
from simenv.rundir import PERSONAS, RunDir

from .bench import IN_WORDS, METRICS, Played
from .interference import ONE_POLICY
from .results import LIMITS, Cell, Figure, Result, Table, unmeasured
from .review import reviewed, scale_of
from .rules import Evidence
from .spread import spread
from .statements import Statements
from .variance import COUNTED, DRAWS, parts_of


def review_log(run: RunDir) -> Result:
    """Review the sessions of a complete run."""
    manifest = run.manifest
    labels = [policy["label"] for policy in manifest["policies"]]
    users, seeds, size = manifest["users"], len(manifest["seeds"]), manifest["page_size"]
    logs = {label: sessions_of(run, label, size) for label in labels}
    if any(played.count != users * seeds for played in logs.values()):
        return unmeasured("review", "sessions are missing from the log")
    scale, statements = scale_of(run.events["rating"].to_numpy()), statements_of(run)
    evidence = {label: Evidence(one, scale, statements, keeps_empty=False) for label, one in logs.items()}
    found = reviewed(evidence, users, LIMITS)
    bounds = [one["label"] for one in manifest["policies"] if knows_truth(one["label"], str(one.get("name", "")))]
    figures, table = between_policies({label: one for label, one in logs.items() if label not in bounds}, users)
    return replace(found, figures=(*found.figures, *figures), tables=(*found.tables, table))


def between_policies(logs: Mapping[str, Played], users: int) -> tuple[list[Figure], Table]:
    """Return what of the variance lies between policies that contest a run; unmeasured where there is one.

    Policies meet the same users with the same chance, so a user's part holds their chance.
    """
    title = "Shares of the variance, between the policies of this run"
    if len(logs) < 2 or users < 2:
        return [], Table(title, ("of", ""), (("policy", ONE_POLICY if len(logs) < 2 else "unmeasured: one user"),))
    values = np.stack([played.metrics.reshape(-1, users, len(METRICS)) for played in logs.values()])
    rows: list[tuple[Cell, ...]] = []
    for metric in COUNTED:
        cells = values[..., METRICS.index(metric)].reshape(len(logs), -1).T  # [users and seeds, policies]
        policy, persona, _, rest = _shares(cells)
        rows.append((IN_WORDS[metric], policy, persona, rest))
    figures = [
        Figure(
            f"{IN_WORDS[metric]}: share of policy in all, by the policies of this run", _policy_share(values, metric)
        )
        for metric in COUNTED
    ]
    return figures, Table(title, ("of", "policy", "persona and their chance", "the rest"), tuple(rows))


def _policy_share(values: FloatArray, metric: str) -> Interval:
    """Return the policies' share, with its interval over users: all seeds of a user are drawn together."""
    cells = values[..., METRICS.index(metric)].transpose(2, 1, 0)  # [U, seeds, policies]

    def found(weights: FloatArray) -> FloatArray:
        drawn = (cells[np.repeat(np.arange(len(cells)), weight.astype(int))] for weight in weights)
        return np.array([_shares(one.reshape(-1, one.shape[2]))[0] for one in drawn])

    return spread(found, len(cells), draws=DRAWS)


def _shares(cells: FloatArray) -> FloatArray:
    """Return the shares of lists, persona, interplay and noise in cells played once with each chance: [N, lists]."""
    parts = np.array(parts_of(cells[:, :, None]))
    return np.asarray(parts / max(parts.sum(), 1e-12))


def statements_of(run: RunDir) -> Statements:
    """Return what the run's folder tells in words; users and items are numbered as `sessions_of` does."""
    users, catalog = _numbers_of(run.pages["user_id"]), _numbers_of(run.items["item_id"])
    places = {str(user): place for user, place in users.items()}
    order = np.argsort(_numbered(run.items["item_id"], catalog, "items.parquet"), kind="stable")
    items = run.items.take(pa.array(order))
    personas = {places[str(one["user"])]: one for one in run.read_lines(PERSONAS) if str(one.get("user")) in places}
    return Statements(items["title"].to_pylist(), [names or () for names in items["categories"].to_pylist()], personas)


def sessions_of(run: RunDir, label: str, size: int) -> Played:
    """Return a policy's sessions; their seats are by seed, then by user, as the log stands.

    Users are numbered by their ids among all users of the log, items by theirs in the catalogue.
    """
    pages, events = (table.filter(pc.equal(table["policy"], label)) for table in (run.pages, run.events))
    users, catalog = _numbers_of(run.pages["user_id"]), _numbers_of(run.items["item_id"])
    user_of = _numbered(pages["user_id"], users, "pages")
    seat_of = pages["seed"].to_numpy().astype(np.int64) * len(users) + user_of
    page_of = events["seed"].to_numpy().astype(np.int64) * len(users) + _numbered(events["user_id"], users, "pages")
    seats = np.unique(seat_of)
    seat, number = np.searchsorted(seats, seat_of), pages["page"].to_numpy().astype(np.int64)
    span = int(number.max(initial=0)) + 1
    place = np.searchsorted(seat * span + number, np.searchsorted(seats, page_of) * span + events["page"].to_numpy())
    rank = events["rank"].to_numpy()
    items = np.full((len(pages), size), EMPTY, dtype=np.int32)
    grades = np.full(items.shape, Grade.UNSEEN, dtype=np.int8)
    ratings = np.full(items.shape, np.nan)
    items[place, rank] = _numbered(events["item_id"], catalog, "items.parquet")
    grades[place, rank] = grade_numbers(events["grade"])
    ratings[place, rank] = events["rating"].to_numpy()
    turns = []
    for page in range(span):
        rows = np.flatnonzero(number == page)
        shown = Page(user_of[rows], seat[rows], number[rows], items[rows])
        turns.append(Turn(shown, _reaction(pages, rows, grades, ratings), items[rows] < EMPTY, rows < 0))
    return Played(turns, len(seats))


def _numbers_of(ids: pa.ChunkedArray) -> dict[object, int]:
    """Return the place of each id in their order, which is that of the log."""
    return {one: place for place, one in enumerate(sorted(set(ids.to_pylist())))}


def _numbered(ids: pa.ChunkedArray, numbers: Mapping[object, int], where: str) -> IntArray:
    try:
        return np.array([numbers[one] for one in ids.to_pylist()], dtype=np.int64)
    except KeyError as error:
        told = f"its event log names {error.args[0]!r}, which {where} does not hold"
        raise RunError(f"{told}; the file is damaged") from None


def _reaction(pages: pa.Table, rows: IntArray, grades: IntArray, ratings: FloatArray) -> Reaction:
    some = pages.take(pa.array(rows))
    causes = np.array([cause or "" for cause in some["exit_cause"].to_pylist()], dtype=object)
    words = some["words"].to_pylist()
    told = some["remembered"].to_pylist() if "remembered" in some.column_names else None
    verdicts = some["verdict"].to_numpy().astype(np.float64) if "verdict" in some.column_names else None
    return Reaction(
        grades[rows].astype(np.int8),
        ratings[rows],
        some["satisfaction"].to_numpy(),
        some["exit"].to_numpy(),
        causes,
        words=words if any(words) else None,
        remembered=told,
        verdicts=verdicts,
    )
