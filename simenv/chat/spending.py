"""What a model's requests took, one row each in the record of answers, so that a budget goes on over a resume."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .record import Record

SPENDING = """CREATE TABLE IF NOT EXISTS spending (
    request INTEGER PRIMARY KEY,
    model TEXT NOT NULL, -- whose budget it counts for, by a hash of the model's settings; '' counts for every model's
    kind TEXT NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    counted TEXT NOT NULL, -- 'told' by the endpoint, 'by length', or 'at most' where nothing came back (yet)
    session REAL NOT NULL, -- when its process began to ask, in seconds since 1970
    time REAL NOT NULL -- when it was over, or began where it never was
)"""
BEGIN = "INSERT INTO spending (model, kind, tokens_in, tokens_out, counted, session, time) VALUES (?, ?, ?, ?, ?, ?, ?)"
END = "UPDATE spending SET tokens_in = ?, tokens_out = ?, counted = ?, time = ? WHERE request = ?"
BEFORE = """SELECT coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0), coalesce(sum(counted = 'at most'), 0),
    coalesce(sum((counted = 'at most') * (tokens_in + tokens_out)), 0) FROM spending WHERE model IN (?, '')"""
SECONDS = """SELECT coalesce(sum(seconds), 0) FROM (
    SELECT max(time) - session AS seconds FROM spending WHERE model = ? GROUP BY session)"""
Counted = Literal["told", "by length", "at most"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent before this process."""

    tokens_in: int = 0
    tokens_out: int = 0
    lost: int = 0  # requests of which nothing came back
    at_most: int = 0  # tokens of these, in and out
    seconds: float = 0.0  # of the clock, from the first question of a process to the end of its last


@dataclass(slots=True)
class Entry:
    """A request on its way; without a row it waits for the record's file to be made."""

    kind: str
    tokens_in: int
    tokens_out: int
    counted: Counted = "at most"
    time: float = 0.0
    row: int | None = None


class Ledger:
    """The requests of one model in a record.

    A row is written before its request leaves, with the most that it can take, and corrected when it is known: a
    process that is killed counts what was on its way at its most. Where there is no record yet nothing is written
    before somebody makes one.
    """

    def __init__(self, record: "Record", model: str) -> None:
        self.record, self.model = record, model
        self._session: float | None = None
        self._held: list[Entry] = []

    def before(self) -> Spent:
        """Return what earlier processes spent on this model."""
        if not self.record.path.is_file():
            return Spent()
        with self.record.using() as connection:
            tokens_in, tokens_out, lost, at_most = connection.execute(BEFORE, (self.model,)).fetchone()
            (seconds,) = connection.execute(SECONDS, (self.model,)).fetchone()
        return Spent(tokens_in, tokens_out, lost, at_most, seconds)

    def begin(self, kind: str, tokens_in: int, tokens_out: int) -> Entry:
        """Note a request that is about to leave, with the most that it can take."""
        entry = Entry(kind, tokens_in, tokens_out, time=time.time())
        self._session = self._session or entry.time
        self._held.append(entry)
        self.flush()
        return entry

    def end(self, entry: Entry, tokens_in: int, tokens_out: int, counted: Counted) -> None:
        """Note what a request took."""
        entry.tokens_in, entry.tokens_out, entry.counted, entry.time = tokens_in, tokens_out, counted, time.time()
        if entry.row is not None:
            with self.record.using() as connection:
                connection.execute(END, (tokens_in, tokens_out, counted, entry.time, entry.row))

    def close(self) -> None:
        """Write down what waited, and let go of the file; it is opened again when it is needed."""
        self.flush()
        self.record.close()

    def flush(self) -> None:
        """Write down what waited for the record's file."""
        if not self._held or not self.record.path.is_file():
            return
        held, self._held = self._held, []
        with self.record.using() as connection:
            for entry in held:
                tokens = entry.tokens_in, entry.tokens_out, entry.counted
                row = (self.model, entry.kind, *tokens, self._session, entry.time)
                entry.row = connection.execute(BEGIN, row).lastrowid
