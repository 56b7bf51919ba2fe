"""The ways to ask for a form: a probe tells who obeys from who only answers 200."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, Field

from simenv.chat.asking import ask
from simenv.chat.faults import Passing
from simenv.chat.ways import SEAL, Way, strict, way_fields
from simenv.errors import ScenarioError


class Verdict(BaseModel):
    grade: int = Field(ge=1, le=5)


def asked(model: Any, question: Any, times: int = 1) -> list[Any]:
    async def run() -> list[Any]:
        try:
            return await asyncio.gather(*(ask(model, question, Verdict) for _ in range(times)))
        finally:
            await model.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("takes", "way", "sent"),
    [
        ({"response_format", "tools"}, Way.SCHEMA, {"response_format"}),
        ({"tools"}, Way.TOOL, {"tools", "tool_choice"}),
        (set(), Way.JSON, set()),
    ],
)
@pytest.mark.parametrize("refusal", [None, 400, 500])
def test_the_best_way_that_is_obeyed_is_found_once(
    server: Any,
    made: Callable[..., Any],
    question: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    takes: set[str],
    way: Way,
    sent: set[str],
    refusal: int | None,
):
    caplog.set_level(logging.INFO)
    server.takes = takes
    if refusal:
        server.refuses = dict.fromkeys({"response_format", "tools"} - takes, refusal)
    plain = server.answer
    server.answer = lambda body: plain(body) if "response_format" in body or "tools" in body else '{"grade": 1}'
    model = made()
    outcomes = asked(model, question(), 20)

    assert {(outcome.how, outcome.value.grade) for outcome in outcomes} == {("plain", 1)}
    assert model.way is way
    assert f"asked for by {way}" in caplog.text
    assert len(server.asked) == 20
    assert len(server.requests) - 20 <= 5
    for body in server.asked:
        assert set(body) == {"model", "messages", "max_tokens"} | sent
    assert SEAL not in json.dumps([body["messages"] for body in server.requests])


def test_a_form_is_asked_for_in_words_at_the_end_of_the_first_message(
    server: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    server.answer = lambda _: '{"grade": 3}'
    (outcome,) = asked(made(ways=["json"]), question())
    (body,) = server.requests
    first, second = (message["content"] for message in body["messages"])
    assert outcome.value.grade == 3
    assert first.startswith("You watch films.\n\nAnswer with one JSON object")
    assert '"maximum": 5' in first
    assert second == "How was it?"


def test_both_paths_send_the_same(server: Any, made: Callable[..., Any], question: Callable[..., Any]):
    in_words = (Way.SCHEMA, Way.TOOL, Way.JSON)
    for way in in_words:
        asked(made(ways=[way], temperature=1.0, seed=True), question(draw=2))
    model = made(ways=["schema"])
    for body, way in zip(server.requests[:3], in_words, strict=False):
        if way is Way.SCHEMA:
            assert body["response_format"]["json_schema"]["strict"] is True
        assert (body["seed"], body["temperature"], body["max_tokens"]) == (2, 1.0, 1024)
        packed = json.loads(model._bodies.pack(question(schema={"type": "object"}), way))
        assert packed == model._bodies.fields(question(schema={"type": "object"}), way)


def test_text_without_a_form_needs_no_probe(server: Any, made: Callable[..., Any], question: Callable[..., Any]):
    model = made()
    assert asyncio.run(model.ask(question())).text == "Blue."
    assert (len(server.requests), model.way) == (1, None)


def test_an_endpoint_that_is_down_settles_nothing(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any
):
    model = made()
    server.always = script.status(500)
    with pytest.raises(Passing, match="out of order"):
        asyncio.run(model.ask(question(schema={"type": "object", "properties": {}})))
    server.always = None
    asked(model, question())
    assert model.way is Way.SCHEMA


def test_who_waits_for_a_probe_shares_its_failure(server: Any, made: Callable[..., Any], question: Callable[..., Any]):
    server.delay = 5.0
    model = made(timeout=0.2)
    outcomes = asked(model, question(), 50)
    assert {(outcome.how, outcome.complaint) for outcome in outcomes} == {
        ("failed", "the endpoint was silent for 0.2 seconds")
    }
    assert len(server.requests) == 1


def test_a_probe_that_is_cancelled_is_made_by_the_next(
    server: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    server.delay = 0.05

    async def run() -> Any:
        model = made()
        first, second = (asyncio.create_task(ask(model, question(), Verdict)) for _ in range(2))
        await asyncio.sleep(0.02)
        first.cancel()
        outcome = await second
        await model.close()
        return outcome

    assert asyncio.run(run()).how == "plain"


def test_an_unknown_way_is_told(made: Callable[..., Any]):
    with pytest.raises(ScenarioError, match="ways are decisions, schema, tool, json"):
        made(ways=["grammar"])


def test_schemas_are_sent_as_strict_endpoints_take_them():
    schema = {
        "title": "Page",
        "type": "object",
        "$defs": {"Item": {"type": "object", "properties": {"title": {"type": "string", "title": "Title"}}}},
        "properties": {
            "item": {"$ref": "#/$defs/Item", "description": "which"},
            "why": {"anyOf": [{"type": "string", "maxLength": 9, "pattern": "^a"}, {"type": "null"}], "default": None},
            "either": {"oneOf": [{"const": 1}, {"const": 2}], "discriminator": {}},
        },
        "required": ["item"],
    }
    assert strict(schema) == {
        "type": "object",
        "$defs": {
            "Item": {
                "type": "object",
                "properties": {"title": {"type": "string"}},
                "required": ["title"],
                "additionalProperties": False,
            }
        },
        "properties": {
            "item": {"$ref": "#/$defs/Item"},
            "why": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "either": {"anyOf": [{"const": 1}, {"const": 2}]},
        },
        "required": ["item", "why", "either"],
        "additionalProperties": False,
    }


def test_a_kind_with_odd_letters_gives_a_name_that_endpoints_take(question: Callable[..., Any]):
    fields = way_fields(Way.SCHEMA, question(kind="page: two", schema={}))
    assert fields["response_format"]["json_schema"]["name"] == "page__two"
