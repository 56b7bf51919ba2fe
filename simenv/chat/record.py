"""The record of answers: what was asked once is not asked again, and a finished run replays from it alone."""

import asyncio
import hashlib
import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from simenv.errors import ChatError, RunError

from .faults import DeadEnd, Refused
from .model import Answer, ChatModel, Decision, Question
from .once import Once
from .spending import SPENDING

APPLICATION, VERSION = 0x53494D45, 2  # of the file: "SIME", and what its tables are
ANSWERS = """CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    answer TEXT NOT NULL, -- or why there was none
    failed INTEGER NOT NULL,
    cut INTEGER NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    seconds REAL NOT NULL,
    time REAL NOT NULL, -- when it was written, in seconds since 1970
    unread INTEGER NOT NULL DEFAULT 0 -- 1 where whoever asked could make nothing of the answer
)"""
READ = "SELECT answer, failed, cut, tokens_in, tokens_out, seconds, unread FROM answers WHERE key = ?"
WRITE = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
UNREAD = "UPDATE answers SET unread = ? WHERE key = ?"
UNANSWERED = "SELECT kind, count(*) FROM answers WHERE failed OR unread GROUP BY kind"
MIGRATION = (  # of version 1, which knew what answers took, and nothing of other requests
    "ALTER TABLE answers ADD COLUMN unread INTEGER NOT NULL DEFAULT 0",
    SPENDING,
    "INSERT INTO spending (model, kind, tokens_in, tokens_out, counted, session, time)"
    " SELECT '', kind, tokens_in, tokens_out, 'told', time, time FROM answers WHERE NOT failed",
)
BUSY = 30.0  # seconds to wait for another process that writes


class Record:
    """Answers on disk, found by what was asked.

    Each is committed to SQLite's write-ahead log as it comes (25 µs), so that a killed process loses none.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._open: sqlite3.Connection | None = None

    def get(self, key: bytes) -> Answer | Refused | None:
        """Return the answer, or why there was none, or None where it was never asked."""
        found = self.find(key)
        return None if found is None else found.answer

    def find(self, key: bytes) -> "Found | None":
        """Return what came of a question, or None where it was never asked."""
        with self.using() as connection:
            row = connection.execute(READ, (key,)).fetchone()
        if row is None:
            return None
        text, failed, cut, tokens_in, tokens_out, seconds, unread = row
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogatepass")
        answer = Refused(text) if failed else Answer(text, tokens_in, tokens_out, seconds, bool(cut))
        return Found(answer, bool(failed or unread))

    def put(self, key: bytes, kind: str, answer: Answer | ChatError) -> None:
        """Keep an answer, or that there was none."""
        one = Answer(str(answer)) if isinstance(answer, ChatError) else answer
        row = (isinstance(answer, ChatError), one.cut, one.tokens_in, one.tokens_out, one.seconds, time.time())
        with self.using() as connection:
            connection.execute(WRITE, (key, kind, _storable(one.text), *row))

    def mark_unread(self, key: bytes, unread: bool = True) -> None:
        """Note whether whoever asked could make nothing of an answer."""
        with self.using() as connection:
            connection.execute(UNREAD, (unread, key))

    def unanswered(self) -> dict[str, int]:
        """Return how many questions got no answer, or none that could be read, by their kind."""
        with self.using() as connection:
            return dict(connection.execute(UNANSWERED).fetchall())

    def __len__(self) -> int:
        """Return how many questions are in it."""
        with self.using() as connection:
            count: int = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        return count

    def close(self) -> None:
        """Let go of the file; it is opened again when it is needed."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connection(self) -> sqlite3.Connection:
        if self._open is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._open = connection
        return self._open

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the table in a new file; refuse a file of another kind before anything is written to it."""
        new = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        told = [connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("application_id", "user_version")]
        if not new and (told[0] != APPLICATION or told[1] not in (1, VERSION)):
            raise RunError(f"{self.path}: not a record of answers of this version; name another file")
        self._log_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages: one pause for the disk in some 1,500 answers
        if not new and told[1] == VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")  # another process may have done it by now
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            for step in (ANSWERS, SPENDING) if new else MIGRATION:
                connection.execute(step)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")

    def _log_ahead(self, connection: sqlite3.Connection) -> None:
        """Turn the write-ahead log on; SQLite does not wait by itself while another process does the same."""
        until = time.monotonic() + BUSY
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.01)

    @contextmanager
    def using(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection; trouble with the file is told in words."""
        try:
            yield self._connection()
        except sqlite3.OperationalError as error:
            raise RunError(f"{self.path}: the record of answers cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            what = f"the record of answers is damaged ({error}); put back a copy of it, or remove it and ask again"
            raise RunError(f"{self.path}: {what}") from error


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a question that was asked before."""

    answer: Answer | Refused
    unread: bool  # no answer, or none that could be read: it may be asked again


def unanswered_in(path: Path) -> dict[str, int]:
    """Return how many questions of a record got no answer that could be read, by kind; {} where there is no record."""
    if not path.is_file():
        return {}
    record = Record(path)
    try:
        return record.unanswered()
    finally:
        record.close()


def answers_in(path: Path) -> int:
    """Return how many questions a record holds an answer to; 0 where there is no record."""
    if not path.is_file():
        return 0
    record = Record(path)
    try:
        return len(record)
    finally:
        record.close()


def _storable(text: str) -> str | bytes:
    """Return the text as SQLite takes it: lone surrogates only go in as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
    return text


@dataclass(slots=True)
class Count:
    """What was asked of a model, and what it took; tokens are those of calls, not of the record."""

    calls: int = 0
    cached: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What models that share a record have asked in this process, by key; what is alike is asked once for all."""

    asked: dict[bytes, "asyncio.Future[Answer | ChatError | None]"] = field(
        default_factory=dict
    )  # and not answered yet
    settled: set[bytes] = field(default_factory=set)  # that got no answer, or none that could be read


class Recorded:
    """A model that answers from the record where it can, and otherwise asks and records.

    Equal questions that come at once make one call. What got no answer in an earlier process, or none that could be
    read, is asked again, once: in one process equal questions come to the same. With `replay` nothing is asked: what
    was answered is answered again, what failed fails again, and what was never asked is a dead end.
    """

    def __init__(
        self, model: ChatModel, record: Record, replay: bool = False, under_way: UnderWay | None = None
    ) -> None:
        self.model, self.record, self.replay = model, record, replay
        self.counts: dict[str, Count] = defaultdict(Count)  # by the kind of question
        self._under_way = under_way or UnderWay()
        self._keys = Keys(model.settings)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return those of the model: a record changes no answer."""
        return self.model.settings

    async def ask(self, question: Question) -> Answer:
        """Return the answer of the record, else of the model."""
        key, count = self._keys.of(question), self.counts[question.kind]
        while (asked := self._under_way.asked.get(key)) is not None:
            same = await asyncio.shield(asked)
            if same is not None:
                return self._told(same, count)
        found = self.record.find(key)
        if found is not None and (self.replay or not found.unread or key in self._under_way.settled):
            return self._told(found.answer, count)
        if self.replay:
            raise DeadEnd(
                f"{self.record.path}: no answer to this question of kind '{question.kind}': the run was recorded with "
                "another model, other settings, prompts or seeds; replay it as it was, or run without replay"
            )
        return await self._call(key, question, count)

    def mark_unread(self, question: Question, unread: bool = True) -> None:
        """Note whether nothing could be made of the answer to a question; a replay changes nothing."""
        if not self.replay:
            key = self._keys.of(question)
            self._under_way.settled.add(key)  # equal questions of this process get the same answer
            self.record.mark_unread(key, unread)

    def _told(self, found: Answer | ChatError, count: Count) -> Answer:
        """Give again what was told before."""
        if isinstance(found, ChatError):
            count.failed += 1
            raise copy(found)  # one raised by many would gather the traces of all
        count.cached += 1
        return found

    async def _call(self, key: bytes, question: Question, count: Count) -> Answer:
        asked = self._under_way.asked[key] = asyncio.get_running_loop().create_future()
        told: Answer | ChatError | None = None  # and so it stays for who waits if this call is cancelled
        count.calls += 1
        try:
            told = answer = await self.model.ask(question)
        except ChatError as error:
            count.failed += 1
            told = error
            raise
        finally:
            del self._under_way.asked[key]
            asked.set_result(told)
            if told is not None and not isinstance(told, DeadEnd):
                self.record.put(key, question.kind, told)
                if isinstance(told, ChatError):
                    self._under_way.settled.add(key)
        count.tokens_in += answer.tokens_in
        count.tokens_out += answer.tokens_out
        return answer

    async def close(self) -> None:
        """Let go of the model's connections and the record's file."""
        self.record.close()
        await self.model.close()


class Keys:
    """Where a question of a model with these settings stands in a record: equal questions, equal keys."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = hashlib.blake2b(_canonical(sorted(settings.items())), digest_size=16)
        self._schema: Once[Mapping[str, Any] | None, bytes] = Once(_canonical)
        self._decisions: Once[tuple[Decision, ...], bytes] = Once(_mark)

    @property
    def mark(self) -> str:
        """Return what tells the model of these settings from others."""
        return self._settings.hexdigest()

    def of(self, question: Question) -> bytes:
        """Return the key; the kind is no part of it."""
        turns = [(message.role, message.text) for message in question.messages]
        digest = self._settings.copy()
        digest.update(_canonical([turns, question.most_tokens, question.draw]))
        digest.update(self._schema(question.schema))
        if question.decisions:
            digest.update(self._decisions(question.decisions))
        return digest.digest()


def _mark(decisions: tuple[Decision, ...]) -> bytes:
    """Return what tells decisions apart, shorter than they are."""
    return hashlib.blake2b(_canonical(list(map(astuple, decisions))), digest_size=16).digest()


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _canonical(value: object) -> bytes:
    return _dumps(value).encode("utf-8", "surrogatepass")
