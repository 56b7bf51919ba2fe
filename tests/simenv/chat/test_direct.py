"""Both paths to an endpoint: what they send, what they read, and what they say when something is wrong."""

import asyncio
import gc
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from simenv.chat.faults import DeadEnd, Passing, Refused
from simenv.chat.model import Answer, ChatModel, Message
from simenv.errors import ChatError, ScenarioError

KEY = "sk-quite-secret-7731"


def told(model: Any, *questions: Any) -> list[Answer]:
    """Ask all at once, and close."""

    async def run() -> list[Answer]:
        try:
            return await asyncio.gather(*map(model.ask, questions))
        finally:
            await model.close()

    return asyncio.run(run())


def test_a_question_is_answered(server: Any, made: Callable[..., Any], question: Callable[..., Any]):
    server.answer = lambda body: f"You said: {body['messages'][1]['content']}"
    (answer,) = told(made(), question("Grüße, 世界 \0"))

    assert (answer.text, answer.tokens_in, answer.tokens_out, answer.cut) == (
        "You said: Grüße, 世界 \0",
        100,
        10,
        False,
    )
    assert answer.seconds > 0
    assert isinstance(made(), ChatModel)


def test_a_request_says_what_was_chosen_and_no_more(
    server: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    told(made(), question())
    told(made(temperature=0.5, seed=True, extra={"top_k": 3}), question(draw=7, most_tokens=9))

    messages = [{"role": "system", "content": "You watch films."}, {"role": "user", "content": "How was it?"}]
    plain = {"model": "scripted", "messages": messages, "max_tokens": 1024}
    assert server.requests[0] == plain
    assert server.requests[1] == plain | {"max_tokens": 9, "temperature": 0.5, "top_k": 3, "seed": 7}
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_questions_that_begin_alike_are_sent_alike_up_to_there(
    server: Any, direct: Callable[..., Any], question: Callable[..., Any]
):
    first = question("x" * 500)
    told(direct(seed=True), first)
    told(direct(seed=True), question("x" * 500, draw=3))
    longer = (*first.messages, Message("assistant", "Well."), Message("user", "Go on."))
    told(direct(seed=True), question(messages=longer))

    one, again, more = server.bodies
    assert again[: one.index(b'"seed"')] == one[: one.index(b'"seed"')]
    assert more.startswith(one[: one.index(b"]")])


def test_never_more_are_on_their_way_than_there_are_slots(
    server: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    server.delay = 0.01
    answers = told(made(slots=8), *(question(str(n)) for n in range(100)))

    assert len(answers) == 100
    assert server.most_in_flight == 8


def test_a_lone_surrogate_is_sent_as_a_question_mark(
    server: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    told(made(), question("a\ud800b"))
    assert server.requests[0]["messages"][1]["content"] == "a?b"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cut_short", "cut its answer short|broke off"),
        ("hung_up", "hung up|broke off"),
        ("empty", "nothing at all"),
        ("truncated", "no chat completion"),
        ("wrong", "no chat completion: the cat sat on it"),
        ("other", "no chat completion"),
        ("deep", "no chat completion"),
        ("bytes", "no chat completion"),
    ],
)
def test_a_damaged_reply_may_be_asked_for_again(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, name: str, says: str
):
    bodies = {
        "empty": b"",
        "truncated": b'{"choices": [{"message": {"content": "wel',
        "wrong": b'{"error": {"message": "the cat sat on it"}}',
        "other": b'{"choices": []}',
        "deep": b"[" * 100_000,
        "bytes": b"\xff\xfe\x00",
    }
    server.always = script.body(bodies[name]) if name in bodies else getattr(script, name)
    with pytest.raises(Passing, match=says):
        told(made(), question())


def test_a_busy_endpoint_says_when_to_come_back(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any
):
    server.always = script.status(429, "slow down", Retry_After="7")
    with pytest.raises(Passing, match="429: slow down") as caught:
        told(made(), question())
    assert (caught.value.retry_after, caught.value.status) == (7.0, 429)


def test_a_silent_endpoint_is_not_waited_for(server: Any, made: Callable[..., Any], question: Callable[..., Any]):
    server.delay = 1.0
    with pytest.raises(Passing, match=r"silent for 0\.1 seconds"):
        told(made(timeout=0.1), question())


def test_nobody_listening_is_told_with_the_address_in_the_log_alone(
    made: Callable[..., Any], question: Callable[..., Any], caplog: pytest.LogCaptureFixture
):
    model = made()
    model.base_url = "http://127.0.0.1:9/v1"
    for _ in range(2):
        with pytest.raises(Passing, match=r"the endpoint cannot be reached.*is it running"):
            told(model, question())
    assert [record.levelname for record in caplog.records if "127.0.0.1:9/v1" in record.getMessage()] == ["WARNING"]


def test_an_unknown_model_is_told_with_those_there_are(
    server: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    server.models = ["gull", "heron"]
    with pytest.raises(DeadEnd, match="knows no model 'swan'; it has gull, heron"):
        told(made(model="swan"), question())


def test_a_wrong_address_is_told(server: Any, made: Callable[..., Any], question: Callable[..., Any]):
    model = made()
    model.base_url = server.url.removesuffix("/v1")
    with pytest.raises(DeadEnd, match=r"no chat completions.*ends with /v1"):
        told(model, question())


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        (400, Refused, "refused the question .*too long"),
        (401, DeadEnd, "key in OPENAI_API_KEY is refused"),
        (403, DeadEnd, "key in OPENAI_API_KEY is refused"),
        (402, DeadEnd, "no credit"),
        (302, DeadEnd, "elsewhere"),
        (422, Refused, "refused the question"),
        (503, Passing, "could not answer"),
    ],
)
def test_a_status_says_what_would_be_right(
    server: Any,
    made: Callable[..., Any],
    question: Callable[..., Any],
    script: Any,
    code: int,
    error: type[ChatError],
    says: str,
):
    server.always = script.status(code, "the prompt is too long")
    with pytest.raises(error, match=says):
        told(made(), question())


def test_a_missing_key_is_told_by_its_name(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OPENAI_API_KEY")
    server.always = script.status(401, "no")
    with pytest.raises(DeadEnd, match="OPENAI_API_KEY is not set"):
        told(made(), question())


def test_an_endpoint_that_wants_the_limit_by_its_other_name_gets_it(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any
):
    server.delay = 0.02
    server.faults = [script.status(400, "'max_tokens' is not supported; use 'max_completion_tokens' instead")] * 5
    answers = told(made(slots=5), *(question(str(n), most_tokens=9) for n in range(10)))
    assert len(answers) == 10
    assert [body.get("max_completion_tokens") for body in server.requests] == [None] * 5 + [9] * 10


def test_a_word_that_stands_for_no_key_may_be_said(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    server.answer = lambda _: "The page was EMPTY."
    assert told(made(), question())[0].text == "The page was EMPTY."


def test_a_key_that_no_header_can_hold_is_told(made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "ключ")
    with pytest.raises(ScenarioError, match="OPENAI_API_KEY holds what no header can") as caught:
        made()
    assert "ключ" not in str(caught.value)


@pytest.mark.parametrize("fault", ["echoing", "hung_up", "cut_short", "refused", "silent"])
def test_the_key_shows_nowhere(
    server: Any,
    made: Callable[..., Any],
    question: Callable[..., Any],
    script: Any,
    caplog: pytest.LogCaptureFixture,
    fault: str,
):
    caplog.set_level(logging.DEBUG)
    model = made(timeout=0.2)
    if fault == "refused":
        model.base_url = "http://127.0.0.1:9/v1"
    elif fault == "silent":
        server.delay = 1.0
    else:
        server.always = getattr(script, fault)
    with pytest.raises(ChatError) as caught:
        told(model, question())

    chain, error = "", caught.value
    while error is not None:
        chain += repr(error) + repr(vars(error)) + "".join(traceback.format_exception(error))
        error = error.__cause__ or error.__context__
    assert KEY not in chain
    assert KEY not in caplog.text + repr(model) + repr(model.settings) + repr(vars(model))
    assert KEY.encode() not in repr(caplog.records).encode()


def test_settings_name_no_host_and_no_key(made: Callable[..., Any]):
    settings = made(temperature=0.7).settings
    assert settings == {
        "model": "scripted",
        "temperature": 0.7,
        "ways": ["decisions", "schema", "tool", "json"],
        "seed": False,
        "extra": {},
    }


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http://user:word@x/v1", "http://x/v1?key=1"])
def test_an_address_that_cannot_be_one_is_refused(made: Callable[..., Any], url: str):
    with pytest.raises(ScenarioError, match="base_url"):
        type(made())("scripted", url)


def test_the_address_may_come_from_the_environment(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert told(type(made())("scripted"), question())[0].text == "Blue."


@pytest.mark.filterwarnings("error")
def test_a_model_can_be_asked_again_after_it_was_closed(made: Callable[..., Any], question: Callable[..., Any]):
    model = made()
    assert [told(model, question())[0].text for _ in range(2)] == ["Blue.", "Blue."]
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_model_can_be_asked_in_another_loop(made: Callable[..., Any], question: Callable[..., Any]):
    model = made()
    for _ in range(2):
        assert asyncio.run(model.ask(question())).text == "Blue."
    asyncio.run(model.close())
