"""Asking again: bounded, ever later, and when the endpoint says."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from simenv.chat.faults import DeadEnd, Passing, Refused
from simenv.chat.model import Answer
from simenv.chat.replies import retry_after
from simenv.chat.retries import Retried


def told(model: Any, question: Any) -> Answer:
    async def run() -> Answer:
        try:
            return await model.ask(question)
        finally:
            await model.close()

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["408", "409", "429", "500", "503", "cut_short", "hung_up", "empty", "truncated"])
def test_what_passes_is_asked_again(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, name: str
):
    bodies = {"empty": b"", "truncated": b'{"choices": [{"mess'}
    fault = script.body(bodies[name]) if name in bodies else None
    fault = fault or (script.status(int(name)) if name.isdigit() else getattr(script, name))
    server.faults = [fault] * 3
    model = Retried(made(), first=0.001)

    assert told(model, question()).text == "Blue."
    assert (len(server.requests), model.retries) == (4, 3)


def test_attempts_are_bounded(server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any):
    server.always = script.status(503)
    with pytest.raises(Passing, match=r"HTTP 503: out of order.*the last of 3 attempts"):
        told(Retried(made(), attempts=3, first=0.001), question())
    assert len(server.requests) == 3


@pytest.mark.parametrize(("code", "error"), [(400, Refused), (401, DeadEnd), (403, DeadEnd), (404, DeadEnd)])
def test_what_does_not_pass_is_not_asked_again(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, code: int, error: type[Exception]
):
    server.always = script.status(code)
    with pytest.raises(error):
        told(Retried(made(), first=0.001), question())
    assert len(server.requests) == 1


def test_who_is_told_to_wait_waits(server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any):
    server.faults = [script.status(429, Retry_After="0.3")]
    began = time.monotonic()
    told(Retried(made(), first=0.001), question())
    assert time.monotonic() - began >= 0.3


def test_who_is_told_to_wait_too_long_gives_up(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any
):
    server.always = script.status(429, Retry_After="3600")
    with pytest.raises(Passing, match="429"):
        told(Retried(made()), question())
    assert len(server.requests) == 1


def test_retry_after_is_read_as_seconds_and_as_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    assert retry_after({"Retry-After": "1.5"}) == 1.5
    assert retry_after({"Retry-After": soon}) == pytest.approx(30, abs=2)
    assert retry_after({"Retry-After": past}) == 0.0
    assert [retry_after({"Retry-After": odd}) for odd in ("soon", "", "nan", "inf", "-3")] == [
        None,
        None,
        None,
        None,
        0.0,
    ]
    assert retry_after({}) is None


def test_settings_are_those_of_the_model(made: Callable[..., Any]):
    model = made()
    assert Retried(model).settings == model.settings
