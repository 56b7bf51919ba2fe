"""Typed decisions: probabilities in place of text, from endpoints that have them, and the next best way from others."""

import asyncio
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from simenv.chat.asking import Outcome, Typed, ask
from simenv.chat.budget import Budget, Budgeted
from simenv.chat.decisions import Chances, decided, heard, is_decided
from simenv.chat.faults import DeadEnd, Passing
from simenv.chat.model import Answer, Decision, Question
from simenv.chat.record import Keys, Record, Recorded
from simenv.chat.retries import Retried
from simenv.chat.ways import Way
from simenv.errors import BudgetSpent

ACT = Decision("act", "choice", "What do you do?", ("skip", "take"))
STARS = Decision("stars", "score", "How do you rate it?", ("1", "2", "3"))
GONE = Decision("gone", "predicate", "You leave.")
ALL = (ACT, STARS, GONE)
CHANCES = {"act": [0.75, 0.25], "stars": [0.1, 0.2, 0.7], "gone": [0.125]}


class Verdict(BaseModel):
    grade: int


def first(chances: Sequence[Chances | None]) -> Verdict | None:
    """Settle on the likeliest outcome of the first decision."""
    return None if chances[0] is None else Verdict(grade=max(range(len(chances[0])), key=chances[0].__getitem__))


TYPED = Typed(ALL, first)


def asked(model: Any, *questions: Question, typed: Typed[Verdict] | None = TYPED) -> list[Outcome[Verdict]]:
    async def run() -> list[Outcome[Verdict]]:
        try:
            return await asyncio.gather(*(ask(model, one, Verdict, typed=typed) for one in questions))
        finally:
            await model.close()

    return asyncio.run(run())


@pytest.fixture
def deciding(server: Any, script: Any) -> Any:
    """The server, with a path for decisions."""
    server.decides = lambda body: script.deciding(
        body, lambda name, options: CHANCES.get(name, [1.0 / max(1, len(options))] * len(options))
    )
    return server


def test_many_decisions_are_one_request_and_come_back_as_probabilities(
    deciding: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    model = made(temperature=0.5, seed=True, extra={"top_k": 3})
    (outcome,) = asked(model, question("Grüße \ud800", draw=3))

    (body,) = deciding.asked
    assert body == {
        "model": "scripted",
        "input": "You watch films.\n\nGrüße ?",
        "questions": [
            {
                "type": "choice",
                "name": "act",
                "instructions": "What do you do?",
                "choices": [{"value": "skip"}, {"value": "take"}],
            },
            {
                "type": "score",
                "name": "stars",
                "instructions": "How do you rate it?",
                "levels": [{"label": "1"}, {"label": "2"}, {"label": "3"}],
            },
            {"type": "predicate", "name": "gone", "instructions": "You leave."},
        ],
    }
    assert (outcome.value, outcome.how, outcome.calls, outcome.lost) == (Verdict(grade=0), "decided", 1, 0)
    assert (outcome.tokens_in, outcome.tokens_out, model.decides, deciding.deciding) == (90, 2, True, 2)
    assert json.loads(outcome.text) == {
        "decisions": {"act": [0.75, 0.25], "stars": [0.1, 0.2, 0.7], "gone": [0.125, 0.875]}
    }
    assert heard(outcome.text, ALL) == [(0.75, 0.25), (0.1, 0.2, 0.7), (0.125, 0.875)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422, 500, 501])
def test_an_endpoint_without_decisions_is_asked_the_next_best_way_and_that_costs_one_request(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, status: int
):
    """An endpoint that breaks is asked something plain too, for it may be ill."""
    plain = server.answer
    server.answer = lambda body: plain(body).replace('"grade": 0', '"grade": 4')
    server.decides = script.deciding
    server.refuses = {"questions": status}
    model = made()
    outcomes = asked(model, *(question(str(n)) for n in range(20)))

    assert {(outcome.how, outcome.value.grade, outcome.calls) for outcome in outcomes if outcome.value} == {
        ("plain", 4, 1)
    }
    assert (server.deciding, len(server.asked), model.decides, model.way) == (1, 20, False, Way.SCHEMA)
    assert len(server.requests) - 20 == (3 if status == 500 else 2)


@pytest.mark.parametrize("reply", ["chat", "html", "nothing", "refusals", "half"])
def test_an_endpoint_that_answers_anything_to_decisions_is_asked_the_next_best_way(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, reply: str
):
    replies: dict[str, Any] = {
        "chat": lambda _: script.completion("Blue."),
        "html": lambda _: "<html>",
        "nothing": lambda _: {"answers": []},
        "refusals": lambda body: script.deciding(body, lambda *_: None),
        "half": lambda body: script.deciding(body | {"questions": body["questions"][:1]}),
    }
    server.decides = replies[reply]
    model = made()
    assert {outcome.how for outcome in asked(model, *(question(str(n)) for n in range(5)))} == {"plain"}
    assert (server.deciding, model.decides) == (1, False)


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_is_busy_settles_nothing(
    deciding: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, status: int
):
    deciding.faults = [script.status(status, Retry_After="0.001")]
    model = made()
    assert asked(model, question())[0].how == "failed"
    assert model.decides is None
    assert asked(model, question())[0].how == "decided"


def test_decisions_may_be_forbidden_or_pinned(deciding: Any, made: Callable[..., Any], question: Callable[..., Any]):
    assert asked(made(ways=["schema", "json"]), question())[0].how == "plain"
    assert deciding.deciding == 0

    pinned = made(ways=["decisions"])
    assert asked(pinned, question())[0].how == "decided"
    assert (deciding.deciding, deciding.requests[-1]["input"]) == (1, "You watch films.\n\nHow was it?")
    deciding.answer = lambda _: '{"grade": 2}'
    assert asked(pinned, question(), typed=None)[0].how == "plain"
    assert "JSON schema" in deciding.requests[-1]["messages"][0]["content"]

    deciding.decides = None
    with pytest.raises(DeadEnd, match="has no typed decisions"):
        asked(made(ways=["decisions"]), question())


def test_a_question_without_decisions_never_meets_them(
    deciding: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    model = made()
    assert asked(model, question(), typed=None)[0].how == "plain"
    assert asyncio.run(model.ask(question())).text == "Blue."
    assert (deciding.deciding, model.decides, model.way) == (0, None, Way.SCHEMA)


def test_more_decisions_than_one_request_takes_are_several(
    deciding: Any, made: Callable[..., Any], question: Callable[..., Any]
):
    many = tuple(Decision(f"d{n}", "choice", "?", ("a", "b", "c")) for n in range(150))
    (outcome,) = asked(made(), question(), typed=Typed(many, first))
    assert [len(body["questions"]) for body in deciding.asked] == [64, 64, 22]
    assert (outcome.how, outcome.tokens_in, outcome.tokens_out) == ("decided", 270, 6)
    chances = heard(outcome.text, many)
    assert chances is not None
    assert len(chances) == 150
    assert None not in chances


def test_a_refused_decision_is_lost_and_the_others_hold(
    deciding: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any
):
    model = made(ways=["decisions"])
    deciding.decides = lambda body: script.deciding(body, lambda name, _: None if name == "stars" else CHANCES[name])
    (outcome,) = asked(model, question())
    assert (outcome.how, outcome.value, outcome.lost) == ("partly", Verdict(grade=0), 1)
    assert outcome.complaint == "1 of 3 decisions were refused or got no probabilities"
    assert json.loads(outcome.text)["decisions"]["stars"] == "refused"

    deciding.decides = lambda body: script.deciding(body, lambda *_: None)
    (outcome,) = asked(model, question())
    assert (outcome.how, outcome.value, outcome.lost, outcome.calls) == ("failed", None, 3, 1)


def choice(*each: Any, **more: Any) -> dict[str, Any]:
    """Return an answer to ACT, of values and probabilities."""
    likely = [{"value": value, "probability": chance} for value, chance in each]
    return {"name": "act", "type": "choice", "choice": "skip", "confidence": 1, "probabilities": likely} | more


@pytest.mark.parametrize(
    ("answer", "chances"),
    [
        (choice(("skip", 0.4), ("take", 0.6)), (0.4, 0.6)),
        (choice(("take", 0.6), ("skip", 0.4)), (0.4, 0.6)),
        (choice(("skip", 0), ("take", 1)), (0, 1)),
        (choice(("skip", 0.0), ("take", 1.0000001)), (0, 1)),
        (choice(("skip", 0.0), ("take", 1.5)), None),
        (choice(("skip", 0.4), ("take", 0.601)), (0.4, 0.601)),
        (choice(("skip", 0.4)), None),
        (choice(("skip", 1.0)), None),
        (choice(("skip", 0.4), ("take", 0.4)), None),
        (choice(("skip", 0.4), ("take", 0.6), ("like", 0.0)), None),
        (choice(("skip", 0.4), ("skip", 0.6)), None),
        (choice(("skip", 0.4), ("take", 0.6), ("take", 0.6)), None),
        (choice(("skip", -0.2), ("take", 1.2)), None),
        (choice(("skip", math.nan), ("take", 1.0)), None),
        (choice(("skip", math.inf), ("take", -math.inf)), None),
        (choice(("skip", None), ("take", 1.0)), None),
        (choice(("skip", "0.4"), ("take", "0.6")), None),
        (choice(("skip", False), ("take", True)), None),
        (choice(("skip", 10**400), ("take", 0.6)), None),
        (choice((True, 0.4), ("take", 0.6)), None),
        (choice((["skip"], 0.4), ("take", 0.6)), None),
        (choice(probabilities={"skip": 0.4, "take": 0.6}), None),
        (choice(probabilities=None), None),
        (choice(probabilities=[0.4, 0.6]), None),
        (choice(("skip", 0.4), ("take", 0.6), type="score"), None),
        (choice(("skip", 0.4), ("take", 0.6), type=["choice"]), None),
        (choice(("skip", 0.4), ("take", 0.6), name="acts"), None),
        ({"name": "act", "type": "refusal"}, None),
        ({"name": "act", "type": "predicate", "probability": 0.4}, None),
        ({"name": "act"}, None),
    ],
)
def test_probabilities_are_all_there_or_none(answer: dict[str, Any], chances: Chances | None):
    other = {"name": "gone", "type": "predicate", "probability": 0.5}
    body = json.dumps({"answers": [answer, other]}).encode()
    assert heard(decided([body], (ACT, GONE), 0.0).text, (ACT, GONE)) == [chances, (0.5, 0.5)]


def test_a_level_is_known_by_its_label_and_not_by_its_number():
    levels = [{"label": str(n), "value": n - 1, "probability": n / 6} for n in (3, 1, 2)]
    body = json.dumps({"answers": [{"name": "stars", "type": "score", "probabilities": levels}]}).encode()
    (chances,) = heard(decided([body], (STARS,), 0.0).text, (STARS,)) or [None]
    assert chances == pytest.approx((1 / 6, 2 / 6, 3 / 6), abs=1e-6)


def test_answers_are_told_apart_by_name_else_by_order():
    ten = tuple(Decision(f"d{n}", "predicate", "?") for n in range(10))

    def found(answers: list[dict[str, Any]]) -> list[float | None]:
        chances = heard(decided([json.dumps({"answers": answers}).encode()], ten, 0.0).text, ten)
        assert chances is not None
        return [None if one is None else one[0] for one in chances]

    named = [{"name": f"d{n}", "type": "predicate", "probability": n / 10} for n in range(10)]
    right = [n / 10 for n in range(10)]
    assert found(named) == found(named[::-1]) == found([one | {"name": None} for one in named]) == right
    assert found(named[:-1]) == [*right[:-1], None]
    assert found([*named, named[0]]) == [None, *right[1:]]
    assert found([*named[:-1], named[-1] | {"name": "d10"}]) == [*right[:-1], None]
    with pytest.raises(Passing, match="answered 9 of 10 decisions, and not which"):
        found([one | {"name": None} for one in named[1:]])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"answers": null}',
        b'{"answers": {"act": {}}}',
        b'{"answers": []}',
        b'{"answers": [1, 2, 3], "usage": [3]}',
        b'{"answers": [{"name": "act", "type": "choice"',
        b"[" * 100_000,
        b"\xff\xfe",
        b"9" * 5000,
    ],
)
def test_a_reply_that_is_none_may_be_asked_for_again(
    deciding: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, raw: bytes
):
    with pytest.raises(Passing, match="decisions"):
        decided([raw], ALL, 0.0)
    deciding.faults = [script.body(raw)]
    assert asked(Retried(made(ways=["decisions"]), 2, 0.001), question())[0].how == "decided"
    deciding.always = script.body(raw)
    assert asked(Retried(made(ways=["decisions"]), 2, 0.001), question())[0].how == "failed"


def test_ten_thousand_damaged_replies_give_probabilities_or_none(script: Any):
    chance = random.Random(3)
    body = script.deciding(
        {
            "model": "m",
            "questions": [
                {"name": "act", "type": "choice", "choices": [{"value": "skip"}, {"value": "take"}]},
                {"name": "stars", "type": "score", "levels": [{"label": one} for one in STARS.options]},
                {"name": "gone", "type": "predicate"},
            ],
        },
        lambda name, _: CHANCES[name],
    )
    good, told = json.dumps(body), {"none": 0, "some": 0, "passing": 0}
    right = [(0.75, 0.25), (0.1, 0.2, 0.7), (0.125, 0.875)]
    odd = ['"name"', "NaN", "-1", "1e999", "null", '"act"', '"take"', "}", "]", "[", "{", ",", "0.9", "\0", "ß", '"']
    for _ in range(10_000):
        begin = chance.randrange(len(good))
        end = min(begin + chance.choice([0, 1, 3, 30]), len(good))
        raw = good[:begin] + chance.choice(odd) * chance.choice([0, 1, 1, 2]) + good[end:]
        if chance.random() < 0.1:
            raw = raw[: chance.randrange(len(raw))]
        try:
            chances = heard(decided([raw.encode()], ALL, 0.0).text, ALL)
        except Passing:
            told["passing"] += 1
            continue
        assert chances is not None
        for one, its in zip(chances, right, strict=True):
            assert one is None or (len(one) == len(its) and min(one) >= 0 and abs(sum(one) - 1) <= 0.02)
        told["none" if None in chances else "some"] += 1
    assert sum(told.values()) == 10_000
    assert min(told.values()) > 300


def test_words_are_no_decisions_whatever_they_hold(question: Callable[..., Any]):
    for text in ("", "decided", '{"grade": 1}', '{"decisions": {}', '{"decisions":[]}', '{"decisions":' + "[" * 99_999):
        assert not is_decided(text) or heard(text, ALL) in (None, [None] * 3), text[:40]
    assert heard('{"decisions":{"act":[0.5,0.5,0],"stars":[1,NaN,0],"gone":7}}', ALL) == [None] * 3

    class Says:
        settings: dict[str, Any] = {}  # noqa: RUF012

        def __init__(self) -> None:
            self.asked: list[Question] = []

        async def ask(self, question: Question) -> Answer:
            self.asked.append(question)
            return Answer("Well." if len(self.asked) == 1 else '{"grade": 3}')

        async def close(self) -> None: ...

    model = Says()
    (outcome,) = asked(model, question())
    assert (outcome.how, outcome.value) == ("repaired", Verdict(grade=3))
    assert [one.decisions for one in model.asked] == [ALL, ()]


def test_the_record_holds_probabilities_and_a_replay_is_exact(
    deciding: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, tmp_path: Path
):
    """Those that were refused are refused again."""

    def chances(name: str, options: list[str]) -> list[float] | None:
        luck = random.Random(name + str(len(deciding.requests)))
        told = [luck.random() for _ in range(max(2, len(options)))]
        return None if luck.random() < 0.2 else [one / sum(told) for one in told][: len(options) or 1]

    questions = [question(f"Film {n}?", draw=n % 2) for n in range(40)]
    record = Record(tmp_path / "answers.db")
    deciding.decides = lambda body: script.deciding(body, chances)
    model = Recorded(made(ways=["decisions"]), record)
    first = asked(model, *questions)
    assert {outcome.how for outcome in first} == {"decided", "partly", "failed"}
    assert model.counts["page"].tokens_in == 40 * 90
    calls = len(deciding.requests)
    again = asked(Recorded(made(ways=["decisions"]), record, replay=True), *questions)
    assert again == first
    assert len(deciding.requests) == calls == 40


def test_other_decisions_are_another_question(question: Callable[..., Any]):
    keys = Keys({})
    some = [keys.of(question(decisions=decisions)) for decisions in ((), ALL, ALL[:2], tuple(ALL), (ACT, GONE, STARS))]
    assert len(set(some)) == 4
    assert some[1] == some[3]


@pytest.mark.usefixtures("deciding")
def test_what_decisions_take_is_counted_in_the_budget(made: Callable[..., Any], question: Callable[..., Any]):
    budget = Budget(tokens=3000)
    asked(Budgeted(made(ways=["decisions"]), budget), question(most_tokens=64))
    assert (budget.tokens_in, budget.tokens_out) == (90, 2)
    with pytest.raises(BudgetSpent, match="3,000 tokens is spent"):
        asked(Budgeted(made(ways=["decisions"]), budget), *(question(str(n), most_tokens=64) for n in range(60)))
    assert 2000 < budget.tokens_in + budget.tokens_out <= 3000


def test_the_key_is_in_no_answer(deciding: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any):
    deciding.always = script.echoing
    with pytest.raises(DeadEnd) as caught:
        asked(made(ways=["decisions"]), question())
    assert "sk-quite-secret-7731" not in str(caught.value)
