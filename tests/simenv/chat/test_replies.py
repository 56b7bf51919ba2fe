"""Reading what an endpoint sent: an answer, or an error that says why not, whatever the bytes."""

import json
import random

import pytest

from simenv.chat.faults import Passing
from simenv.chat.replies import answer_of, complaint, fault_of, models_of
from simenv.errors import ChatError

GOOD = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Well."}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3},
}


def test_an_answer_tells_what_it_took_and_whether_it_was_cut():
    answer = answer_of(json.dumps(GOOD).encode(), 0.5)
    assert (answer.text, answer.tokens_in, answer.tokens_out, answer.seconds, answer.cut) == ("Well.", 12, 3, 0.5, True)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None, "tool_calls": [{"function": {"name": "page", "arguments": '{"a": 1}'}}]}, '{"a": 1}'),
        ({"content": None, "tool_calls": [{"function": {"name": "page", "arguments": {"a": 1}}}]}, '{"a": 1}'),
        ({"content": "Well.", "tool_calls": []}, "Well."),
        ({"content": None, "refusal": "I would rather not."}, "I would rather not."),
        ({"content": None, "reasoning_content": "Hm."}, ""),
    ],
)
def test_a_message_says_its_call_its_content_or_its_refusal(message: dict[str, object], text: str):
    assert answer_of(json.dumps({"choices": [{"message": message}]}).encode(), 0.0).text == text


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": "many"}, {"prompt_tokens": 1e400}, {"prompt_tokens": -1}]
)
def test_usage_that_is_none_counts_as_none(usage: object):
    assert answer_of(json.dumps(GOOD | {"usage": usage}).encode(), 0.0).tokens_in == 0


def test_any_bytes_are_an_answer_or_no_completion():
    chance = random.Random(3)
    good = json.dumps(GOOD)
    parts = ["null", "[]", "{}", "5", '"x"', "NaN", "Infinity", "1e999", "[" * 5000, "\0"]
    complaints: list[Passing] = []
    for _ in range(3000):
        at, end = sorted(chance.randrange(len(good) + 1) for _ in range(2))
        raw = (good[:at] + chance.choice(parts) + good[end:]).encode() + chance.choice([b"", b"\xff", b"\xed\xa0\x80"])
        try:
            answer_of(raw, 0.0)
        except Passing as error:
            complaints.append(error)
        assert isinstance(fault_of(chance.choice([400, 429, 500, 302, 418]), {}, raw), ChatError)
        models_of(raw)
    assert complaints
    assert all(len(str(error)) < 300 and error.__context__ is None for error in complaints)


def test_a_complaint_is_short_and_found_wherever_servers_put_it():
    assert complaint(b'{"error": {"message": "no\\n such  thing"}}') == "no such thing"
    assert complaint(b'{"error": "no"}') == "no"
    assert complaint(b"<html>Bad gateway</html>") == "<html>Bad gateway</html>"
    assert complaint(b"") == "no reason given"
    assert len(complaint(b"x" * 100_000)) == 200
