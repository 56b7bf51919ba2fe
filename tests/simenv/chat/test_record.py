"""The record of answers: what it saves, and what it survives."""

import asyncio
import logging
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from simenv.chat.faults import DeadEnd, Passing, Refused
from simenv.chat.model import Answer, Message, Question
from simenv.chat.record import Keys, Record, Recorded
from simenv.chat.spending import Ledger, Spent
from simenv.chat.usage import Usage, usage
from simenv.errors import RunError

WRITER = """
import sys
from simenv.chat.model import Answer
from simenv.chat.record import Record
record = Record(sys.argv[1])
for n in range(10**9):
    record.put(n.to_bytes(16), "page", Answer(f"answer {n}", 1, 2, 0.5))
    if n % 50 == 0:
        print(n, flush=True)
"""


def told(model: Any, *questions: Any) -> list[Answer | BaseException]:
    """Ask all at once, and close."""

    async def run() -> list[Answer | BaseException]:
        try:
            return await asyncio.gather(*map(model.ask, questions), return_exceptions=True)
        finally:
            await model.close()

    return asyncio.run(run())


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "answers.db")


def test_what_was_asked_once_is_not_asked_again(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], record: Record
):
    server.answer = lambda _: f"No {len(server.bodies)}"
    first = Recorded(direct(), record)
    again = Recorded(direct(), record)
    asked = told(first, question(), question("Else?"), question(draw=1))

    assert told(again, question(), question("Else?"), question(draw=1)) == asked
    assert len({answer.text for answer in asked}) == 3
    assert len(server.bodies) == 3
    assert (first.counts["page"].calls, first.counts["page"].cached, first.counts["page"].tokens_in) == (3, 0, 300)
    assert (again.counts["page"].calls, again.counts["page"].cached, again.counts["page"].tokens_in) == (0, 3, 0)
    assert len(record) == 3


def test_equal_questions_at_once_make_one_call(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], record: Record
):
    server.delay = 0.02
    model = Recorded(direct(), record)
    assert len({answer.text for answer in told(model, *[question()] * 20)}) == 1
    assert len(server.bodies) == 1
    assert (model.counts["page"].calls, model.counts["page"].cached) == (1, 19)


def test_who_waits_for_a_call_that_is_cancelled_asks_itself(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], record: Record
):
    server.delay = 0.05
    model = Recorded(direct(), record)

    async def run() -> Answer:
        first, second = (asyncio.create_task(model.ask(question())) for _ in range(2))
        await asyncio.sleep(0.02)
        first.cancel()
        answer = await second
        await model.close()
        return answer

    assert asyncio.run(run()).text == "Blue."


def test_who_waits_for_a_call_that_fails_fails_alike(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], record: Record, script: Any
):
    server.delay, server.always = 0.02, script.status(503)
    assert {type(one) for one in told(Recorded(direct(), record), *[question()] * 5)} == {Passing}
    assert len(server.bodies) == 1


def test_replay_makes_no_calls(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], record: Record, script: Any
):
    server.faults = [script.status(400, "too long")]
    (failed,) = told(Recorded(direct(), record), question("Long."))
    (answer,) = told(Recorded(direct(), record), question())
    before = len(server.bodies)
    model = Recorded(direct(), record, replay=True)
    again, failed_again, missed = told(model, question(), question("Long."), question("New?"))

    assert again == answer
    assert str(failed_again) == str(failed)
    assert isinstance(missed, DeadEnd)
    assert "kind 'page'" in str(missed)
    assert "recorded with another model" in str(missed)
    assert len(server.bodies) == before
    assert (model.counts["page"].cached, model.counts["page"].failed, model.counts["page"].calls) == (1, 1, 0)


def test_what_failed_is_asked_again_outside_a_replay(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], record: Record, script: Any
):
    server.faults = [script.status(400)]
    told(Recorded(direct(), record), question())
    (answer,) = told(Recorded(direct(), record), question())
    assert (answer.text, len(record)) == ("Blue.", 1)


def test_dead_ends_are_not_recorded(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], record: Record, script: Any
):
    server.always = script.status(401)
    told(Recorded(direct(), record), question())
    assert len(record) == 0


def test_the_file_holds_neither_key_nor_host(
    server: Any,
    direct: Callable[..., Any],
    question: Callable[..., Any],
    record: Record,
    script: Any,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.DEBUG)
    server.faults = [script.status(400, "Bearer sk-quite-secret-7731 sent this")]
    server.answer = lambda _: "The key was sk-quite-secret-7731."
    told(Recorded(direct(), record), question("first"))
    told(Recorded(direct(), record), question())
    nowhere = direct()
    nowhere.base_url = "http://127.0.0.1:9/v1"
    told(Recorded(nowhere, record), question("nowhere"))
    held = b"".join(path.read_bytes() for path in record.path.parent.iterdir())
    assert b"The key was (key)." in held
    assert b"cannot be reached" in held
    for secret in (b"secret-7731", b"127.0.0.1", str(server.port).encode()):
        assert secret not in held
    assert "secret-7731" not in caplog.text


def test_keys_tell_apart_what_gives_another_answer(question: Callable[..., Any]):
    settings = {"model": "a", "temperature": 1.0}
    one = {"type": "object", "properties": {"a": {}, "b": {}}}
    other = {"type": "object", "properties": {"b": {}, "a": {}}}
    asked = [
        question(),
        question("else"),
        question(draw=1),
        question(most_tokens=9),
        question(schema=one),
        question(schema=other),
        question(messages=(Message("user", "How was it?"),)),
        question(messages=(Message("user", "You watch films."), Message("user", "How was it?"))),
    ]
    keys = {Keys(settings).of(one) for one in asked}
    assert len(keys) == len(asked)
    assert Keys(settings | {"model": "b"}).of(asked[0]) not in keys
    assert Keys(dict(reversed(settings.items()))).of(question(kind="interview")) in keys


@pytest.mark.parametrize("text", ["", "Grüße, 世界", "a\0b", "\ud800", "x" * 100_000])
def test_any_text_comes_back_as_it_was(record: Record, text: str):
    answer = Answer(text, 1, 2, 0.25, True)
    record.put(b"k", "page", answer)
    record.close()
    assert record.get(b"k") == answer


def test_answers_survive_a_killed_writer(tmp_path: Path):
    path = tmp_path / "answers.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    last = 0
    while last < 1000:
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    record = Record(path)
    assert all(record.get(n.to_bytes(16)) == Answer(f"answer {n}", 1, 2, 0.5) for n in range(last + 1))


def test_a_damaged_file_is_told(tmp_path: Path):
    path = tmp_path / "answers.db"
    path.write_bytes(b"no database " * 500)
    with pytest.raises(RunError, match=r"answers\.db: the record of answers is damaged"):
        Record(path).get(b"k")
    assert path.read_bytes() == b"no database " * 500


def test_damage_in_the_midst_is_told(record: Record):
    for n in range(2000):
        record.put(n.to_bytes(16), "page", Answer("x" * 200))
    record.close()
    held = bytearray(record.path.read_bytes())
    held[8192:-4096] = b"\xff" * (len(held) - 12288)
    record.path.write_bytes(held)
    with pytest.raises(RunError, match="damaged"):
        _ = [record.get(n.to_bytes(16)) for n in range(2000)]


def test_another_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE films (title)")
    with pytest.raises(RunError, match="not a record of answers"):
        Record(path).put(b"k", "page", Answer("x"))


def test_a_folder_is_no_record(tmp_path: Path):
    with pytest.raises(RunError, match="cannot be used"):
        Record(tmp_path).get(b"k")


VERSION_1 = """
CREATE TABLE answers (
    key BLOB PRIMARY KEY, kind TEXT NOT NULL, answer TEXT NOT NULL, failed INTEGER NOT NULL, cut INTEGER NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, seconds REAL NOT NULL, time REAL NOT NULL
);
INSERT INTO answers VALUES (x'6b', 'page', 'Blue.', 0, 0, 100, 10, 0.5, 1.0);
INSERT INTO answers VALUES (x'6c', 'page', 'no', 1, 0, 0, 0, 0.0, 2.0);
PRAGMA application_id = 0x53494D45;
PRAGMA user_version = 1;
"""


def test_a_record_of_the_first_version_keeps_its_answers_and_what_they_took(tmp_path: Path):
    path = tmp_path / "answers.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
    assert usage(path)["page"].tokens_in == 100

    record = Record(path)

    assert record.get(b"k") == Answer("Blue.", 100, 10, 0.5)
    assert isinstance(record.get(b"l"), Refused)
    assert record.unanswered() == {"page": 1}
    assert Ledger(record, "any model").before() == Spent(100, 10)
    record.put(b"m", "page", Answer("Red."))
    assert usage(path)["page"] == Usage(3, 1, 100, 10)


def test_a_record_of_a_later_version_is_left_alone(record: Record):
    record.put(b"k", "page", Answer("x"))
    record.close()
    with closing(sqlite3.connect(record.path)) as later:
        later.execute("PRAGMA user_version = 3")
    with pytest.raises(RunError, match="not a record of answers of this version"):
        record.get(b"k")


def test_what_could_not_be_read_is_asked_again_in_another_process_alone(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any], record: Record
):
    """In one process equal questions come to the same, whoever asks first; a replay tells what was told."""
    server.answer = lambda _: f"No {len(server.bodies)}"
    first = Recorded(direct(), record)
    (babble,) = told(first, question())
    first.mark_unread(question())
    assert told(first, question()) == [babble]

    assert told(Recorded(direct(), record, replay=True), question()) == [babble]
    (anew,) = told(Recorded(direct(), record), question())
    assert (babble.text, anew.text) == ("No 1", "No 2")
    assert told(Recorded(direct(), record), question()) == [anew]
    assert len(server.bodies) == 2


def test_two_records_may_write_to_one_file(tmp_path: Path):
    one, other = Record(tmp_path / "a.db"), Record(tmp_path / "a.db")
    for n in range(20):
        (one, other)[n % 2].put(bytes([n]), "page", Answer(str(n)))
    assert len(one) == len(other) == 20


def test_settings_are_those_of_the_model(direct: Callable[..., Any], record: Record):
    model = direct(temperature=0.3)
    assert Recorded(model, record).settings == model.settings
    assert isinstance(Keys(model.settings).of(Question("page", (Message("user", "?"),))), bytes)
