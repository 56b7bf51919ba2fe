"""What a record of answers took is told without touching it."""

from pathlib import Path

from simenv.chat.faults import Refused
from simenv.chat.model import Answer
from simenv.chat.record import Record
from simenv.chat.usage import Usage, usage


def test_calls_and_tokens_are_added_up_by_kind(tmp_path: Path):
    record = Record(tmp_path / "answers.sqlite")
    record.put(b"1", "page", Answer("{}", tokens_in=100, tokens_out=10))
    record.put(b"2", "page", Refused("no"))
    record.put(b"3", "interview", Answer("{}", tokens_in=50, tokens_out=5))

    while_open = usage(record.path)
    record.close()

    assert while_open == usage(record.path) == {"interview": Usage(1, 0, 50, 5), "page": Usage(2, 1, 100, 10)}
    assert [path.name for path in tmp_path.iterdir()] == ["answers.sqlite"]


def test_no_record_and_a_damaged_one_tell_nothing(tmp_path: Path):
    (tmp_path / "damaged").write_text("nothing of the kind")

    assert usage(tmp_path / "none") == {}
    assert usage(tmp_path / "damaged") == {}
