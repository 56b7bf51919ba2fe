"""The session viewer: whole sessions to read page by page, for some users under every policy.

Who is shown is drawn by the run's seed. Everybody drawn is shown under each policy, so that one user can be followed
from policy to policy; how many pages of a session are shown, and of how many users, follows from the room there is.
A page that is shown is shown whole.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import escape

from simenv.chance import stream
from simenv.rundir import RunDir

from .exits import STAYED, UNNAMED
from .numbers import count, percent
from .quotes import shortened
from .standings import Standings
from .svg import inks

MOST_USERS = 8
ENOUGH = 4  # users; for fewer, fewer pages of each session are shown
ROOM = 100_000  # bytes for all sessions, about
MOST_TASTES = 3
MOST_PAGES = (12, 8, 5, 3, 2)  # of a session: as many of these as there is room for
TITLE, SAID, RECALLED = 90, 420, 260  # letters
Who = tuple[int, Any]  # a seed and a user's id


@dataclass(frozen=True, slots=True)
class Item:
    """A shown item, and what was done with it."""

    title: str
    categories: str
    grade: str
    rating: str


@dataclass(frozen=True, slots=True)
class Stop:
    """One page of a session."""

    number: int  # counted from 1
    items: Sequence[Item]
    satisfaction: str
    words: str
    remembered: Sequence[tuple[str, str]]  # kind and text
    reading: str  # where it was not plain


@dataclass(frozen=True, slots=True)
class Visit:
    """One session."""

    user: int  # the user's place among those shown
    policy: int
    stops: Sequence[Stop]
    more: int  # pages left out before the last
    end: str
    verdict: str

    @property
    def size(self) -> int:
        """About how many bytes it takes: the names of the fields weigh what the marks around them do."""
        return len(escape(repr(self)).encode())


@dataclass(frozen=True, slots=True)
class Viewer:
    """Sessions to choose from by policy and user."""

    policies: Sequence[tuple[str, str]]  # name and ink
    users: Sequence[tuple[str, str]]  # name, and what the history was like
    visits: Sequence[Visit]
    told: str  # how many of how many


def viewer(run: RunDir, stands: Standings) -> Viewer | None:
    """Return sessions of some users, drawn by the run's seed; None for a log that has none."""
    begun = run.pages.filter(pc.equal(run.pages["page"], 0))
    drawn, total = _drawn(begun, run.manifest.get("seeds"))
    if not drawn:
        return None
    found = _Sessions(run, stands, drawn)
    most_pages, kept = _fitting(found, drawn)
    users = sorted(drawn[:kept])
    visits = [visit for place, who in enumerate(users) for visit in found.visits(who, place, most_pages)]
    several = len({seed for seed, _ in drawn}) > 1
    names = [f"{user}, seed {seed}" if several else str(user) for seed, user in users]
    told = f"{count(kept)} of {count(total)} users{', counted once a seed' if several else ''}, drawn by the run's seed"
    return Viewer(
        [(policy, inks(stands)[policy]) for policy in found.policies],
        [(name, found.past(user)) for name, (_, user) in zip(names, users, strict=True)],
        visits,
        f"{told}: {count(len(visits))} of {count(len(begun))} sessions.",
    )


def _drawn(begun: pa.Table, seeds: object) -> tuple[list[Who], int]:
    """Return whom to show, in the order they were drawn, and out of how many."""
    most = max(pc.value_counts(begun["policy"]).to_pylist(), key=lambda row: row["counts"], default=None)
    if most is None:
        return [], 0
    table = begun.filter(pc.equal(begun["policy"].cast(pa.string()), most["values"]))
    seed = seeds[0] if isinstance(seeds, list) and seeds else 0
    chosen = stream(int(seed), "sessions to show").permutation(len(table))[:MOST_USERS]
    rows = table.select(["seed", "user_id"]).take(pa.array(chosen)).to_pylist()
    return [(row["seed"], row["user_id"]) for row in rows], len(table)


def _fitting(found: "_Sessions", drawn: Sequence[Who]) -> tuple[int, int]:
    """Return how many pages of a session are shown, and of how many users, so that all finds room; at least of one."""
    most_pages, kept = MOST_PAGES[0], 0
    for most_pages in MOST_PAGES:
        sizes = [sum(visit.size for visit in found.visits(who, 0, most_pages)) for who in drawn]
        kept = sum(total <= ROOM for total in accumulate(sizes))
        if kept >= min(ENOUGH, len(drawn)):
            break
    return most_pages, max(kept, 1)


class _Sessions:
    """The rows of the users who are shown."""

    def __init__(self, run: RunDir, stands: Standings, users: Sequence[Who]) -> None:
        ids = [user for _, user in users]
        pages, events, people = (_of(table, "user_id", ids) for table in (run.pages, run.events, run.users))
        self.items = {row["item_id"]: row for row in _of(run.items, "item_id", events["item_id"]).to_pylist()}
        self._past = {row["user_id"]: row for row in people.to_pylist()}
        self._pages: dict[tuple[str, Who], list[dict[str, Any]]] = {}
        for row in pages.to_pylist():
            self._pages.setdefault((row["policy"], (row["seed"], row["user_id"])), []).append(row)
        self._events: dict[tuple[str, Who, int], list[dict[str, Any]]] = {}
        for row in events.to_pylist():
            key = (row["policy"], (row["seed"], row["user_id"]), row["page"])
            self._events.setdefault(key, []).append(row)
        played = {policy for policy, _ in self._pages}
        self.policies = [policy for policy in stands.policies if policy in played]

    def past(self, user: object) -> str:
        """Return what a user's history was like, in words."""
        row = self._past.get(user, {})
        told = [f"{count(row['train_count'])} training rows"] if row.get("train_count") is not None else []
        tastes = sorted(
            zip(row.get("categories") or [], row.get("shares") or [], strict=True), key=lambda pair: -pair[1]
        )
        if tastes:
            told.append(f"mostly {', '.join(f'{name} {percent(share)}' for name, share in tastes[:MOST_TASTES])}")
        return shortened(", ".join(told), TITLE)

    def visits(self, who: Who, place: int, most_pages: int) -> list[Visit]:
        """Return a user's session under each policy: the first pages and the last, each with all its items."""
        found = []
        for number, policy in enumerate(self.policies):
            rows = self._pages.get((policy, who), [])
            if rows:
                kept = rows if len(rows) <= most_pages else [*rows[: most_pages - 1], rows[-1]]
                stops = [self._stop(policy, who, row) for row in kept]
                found.append(Visit(place, number, stops, len(rows) - len(kept), _end(rows), _verdict(rows[-1])))
        return found

    def _stop(self, policy: str, who: Who, row: Mapping[str, Any]) -> Stop:
        events = self._events.get((policy, who, row["page"]), [])
        reading = row.get("reading")
        return Stop(
            row["page"] + 1,
            [self._item(event) for event in events],
            _figure(row["satisfaction"]),
            shortened(row.get("words") or "", SAID),
            _recalled(row.get("remembered")),
            reading if reading and reading != "plain" else "",
        )

    def _item(self, event: Mapping[str, Any]) -> Item:
        item = self.items.get(event["item_id"], {})
        title = item.get("title") or f"item {event['item_id']}"
        return Item(
            shortened(title, TITLE),
            shortened(", ".join(item.get("categories") or []), TITLE),
            event["grade"],
            "" if event["rating"] is None else f"{event['rating']:.3g}",
        )


def _end(rows: Sequence[Mapping[str, Any]]) -> str:
    last = rows[-1]
    if not last["exit"]:
        return STAYED
    return f"left after page {last['page'] + 1}: {last['exit_cause'] or UNNAMED}"


def _verdict(row: Mapping[str, Any]) -> str:
    return _figure(row.get("verdict")).removesuffix(".0")


def _figure(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.1f}"


def _recalled(told: str | None) -> list[tuple[str, str]]:
    """Return the kinds and texts of the records of a memory; what is none is left out."""
    try:
        records = json.loads(told or "[]")
    except ValueError:
        return []
    known = [one for one in records if isinstance(one, list) and len(one) > 2] if isinstance(records, list) else []
    return [(shortened(str(kind), TITLE), shortened(str(text), RECALLED)) for _, kind, text, *_ in known]


def _of(table: pa.Table, column: str, values: Any) -> pa.Table:
    """Return the rows whose value in this column is among these."""
    wanted = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else pa.array(values)
    return table.filter(pc.is_in(table[column], value_set=wanted.cast(table[column].type)))
