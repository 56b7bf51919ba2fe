"""Structured asking: every text ends in an outcome, and none in a wrong value."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field

from simenv.chat.asking import Outcome, ask, read, schema_of
from simenv.chat.faults import DeadEnd, Refused
from simenv.chat.model import Answer, Question
from simenv.errors import BudgetSpent


class Deed(StrEnum):
    PASS = "pass"
    VIEW = "view"
    LIKE = "like"


class Look(BaseModel):
    letter: str = Field(pattern="^[A-E]$")
    deed: Deed
    rating: int = Field(ge=1, le=5)


class Page(BaseModel):
    """A decision as a user makes it."""

    model_config = ConfigDict(extra="forbid")
    looks: list[Look]
    mood: float
    leaves: bool
    why: str


GOOD = {
    "looks": [{"letter": "A", "deed": "like", "rating": 5}, {"letter": "B", "deed": "pass", "rating": 2}],
    "mood": 0.75,
    "leaves": False,
    "why": 'The second was "too long", and {odd}.',
}
PAGE = Page.model_validate(GOOD)
TEXT = json.dumps(GOOD)


class Says:
    """A model that says this, one after the other; an exception is raised."""

    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, *texts: str | Exception, cut: bool = False) -> None:
        self.texts, self.cut, self.asked = list(texts), cut, list[Question]()

    async def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        text = self.texts.pop(0)
        if isinstance(text, Exception):
            raise text
        return Answer(text, 10, 5, 0.5, self.cut)

    async def close(self) -> None: ...


def outcome(model: Any, question: Question, **options: Any) -> Outcome[Page]:
    return asyncio.run(ask(model, question, Page, **options))


def test_plain_json_is_taken_as_it_is(question: Callable[..., Any]):
    told = outcome(Says(TEXT), question())
    assert (told.value, told.how, told.calls, told.tokens_in, told.tokens_out) == (PAGE, "plain", 1, 10, 5)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{TEXT}\n```",
        f"Sure! Here is {{my}} answer:\n{TEXT}\nI hope {{this}} helps.",
        f"<think>{{'looks': []}} or {TEXT[:40]}</think>\n{TEXT}",
        f'An example is {{"looks": 3}}, but mine is {TEXT}',
        "\ufeff" + TEXT,
        TEXT.replace("}, {", "},\n  {").replace('"mood"', "mood"),
        TEXT.replace("}}", "},}").replace("}]", "},]"),
        TEXT.replace(', "mood"', ' "mood"'),
        TEXT.replace("false", "False"),
        TEXT.replace('"pass"', "'pass'"),
        f"[{TEXT}]",
    ],
)
def test_what_is_almost_right_is_mended(question: Callable[..., Any], text: str):
    told = outcome(Says(text), question())
    assert (told.value, told.how, told.calls) == (PAGE, "mended", 1)


def test_what_cannot_be_read_is_asked_for_again_and_told_why(question: Callable[..., Any]):
    model = Says(TEXT.replace("5", "9") + "x" * 3000, TEXT)
    told = outcome(model, question(draw=4))
    assert (told.value, told.how, told.calls, told.tokens_in) == (PAGE, "repaired", 2, 20)

    first, again = model.asked
    assert again.messages[:2] == first.messages
    assert len(again.messages[2].text) == 2000
    assert "looks.0.rating: Input should be less than or equal to 5" in again.messages[3].text
    assert (again.draw, again.schema, again.kind) == (4, first.schema, first.kind)


def test_a_check_complains_in_its_own_words(question: Callable[..., Any]):
    model = Says(TEXT, TEXT)
    told = outcome(model, question(), check=lambda page: "there is no item 'B'" if len(page.looks) > 1 else None)
    assert (told.value, told.how, told.complaint) == (None, "failed", "there is no item 'B'")
    assert "there is no item 'B'" in model.asked[1].messages[-1].text


def test_who_fails_twice_has_failed(question: Callable[..., Any]):
    told = outcome(Says("No.", "Still no."), question())
    assert (told.value, told.how, told.calls, told.text) == (None, "failed", 2, "Still no.")


def test_an_empty_answer_is_shown_as_words(question: Callable[..., Any]):
    model = Says("", TEXT)
    assert outcome(model, question()).how == "repaired"
    assert model.asked[1].messages[2].text == "(no answer)"


def test_a_key_that_stands_twice_is_no_answer():
    assert read(TEXT.replace('"pass", ', '"pass", "deed": "like", '), Page).value is None


def test_an_answer_that_was_cut_is_not_mended(question: Callable[..., Any]):
    for end in range(1, len(TEXT)):
        assert read(TEXT[:end], Page).value is None, TEXT[:end]
    model = Says(TEXT[:60], TEXT, cut=True)
    assert outcome(model, question()).how == "repaired"
    assert "cut off" in model.asked[1].messages[-1].text


def test_a_refusal_ends_in_failed_and_a_dead_end_is_raised(question: Callable[..., Any]):
    told = outcome(Says(Refused("too long")), question())
    assert (told.value, told.how, told.calls, told.complaint) == (None, "failed", 1, "too long")
    assert outcome(Says("?", Refused("too long")), question()).calls == 2
    for error in (DeadEnd("no key"), BudgetSpent("no money")):
        with pytest.raises(type(error)):
            outcome(Says(error), question())


def test_the_schema_comes_from_the_form_unless_the_question_has_one(question: Callable[..., Any]):
    model = Says(TEXT, TEXT)
    own = {"type": "object"}
    outcome(model, question())
    outcome(model, question(schema=own))
    assert model.asked[0].schema is schema_of(Page)
    assert model.asked[1].schema is own


ODD = {
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "deep and closed": '{"looks":' + "[" * 50_000 + "]" * 50_000 + "}",
    "100 kB": "word " * 20_000,
    "100 kB of braces": "{" * 50_000 + "}" * 50_000,
    "100 kB of quotes": '{"' * 25_000 + '"}' * 25_000,
    "nul": "\0" * 1000,
    "nul in it": TEXT.replace("long", "lo\0ng"),
    "huge number": TEXT.replace("0.75", "9" * 5000),
    "huge exponent": TEXT.replace("0.75", "1e999"),
    "huge exponent, damaged": TEXT.replace("0.75,", "1e999,,"),
    "NaN": TEXT.replace("0.75", "NaN"),
    "NaN in quotes": TEXT.replace("0.75", '"NaN"'),
    "Infinity": TEXT.replace("0.75", "-Infinity"),
    "surrogate": TEXT.replace("long", "\ud800"),
    "escaped surrogate": TEXT.replace("long", "\\ud800"),
    "surrogate key": TEXT.replace("mood", "\\ud800"),
    "other language": "Мне понравился второй. 二番目が好きです。 أعجبني",
    "number": "42",
    "null": "null",
    "string": json.dumps(TEXT),
    "list": "[1, 2, 3]",
    "empty object": "{}",
    "empty": "",
    "blank": " \n\t",
    "html": "<html><body>{ color: red }</body></html>",
    "regex bait": "{" + " " * 50_000 + "{" + "w" * 50_000,
}


@pytest.mark.parametrize("name", ODD)
def test_no_text_raises_and_none_gives_a_number_that_is_none(question: Callable[..., Any], name: str):
    told = outcome(Says(ODD[name], ODD[name]), question())
    assert (told.value is not None) == (name in {"nul in it", "surrogate", "escaped surrogate"})
    if told.value is not None:
        assert told.value.why.encode().decode() == told.value.why
    assert (told.complaint or "").isprintable()


def corrupted(chance: random.Random) -> str:
    """Return the good text, damaged as models damage it: never a digit, a letter or a word inside a value."""
    text = TEXT
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(12):
            case 0:
                text = text[:at]
            case 1:
                text = chance.choice(["Sure: ", "```json\n", "Here {it} is:\n\n", "<think>hm</think>", "{"]) + text
            case 2:
                text += chance.choice(["\n```", "\nThat is all.", "}", " {see above}", ", and more"])
            case 3 | 4 | 5:
                marks = [n for n, mark in enumerate(text) if mark in '{}[],:"']
                if marks:
                    gone = chance.choice(marks)
                    text = text[:gone] + text[gone + 1 :]
            case 6 | 7:
                marks = [n for n, mark in enumerate(text) if mark in '{}[],:"']
                if marks:
                    twice = chance.choice(marks)
                    text = text[:twice] + text[twice] + text[twice:]
            case 8:
                text = text.replace('"', chance.choice(["'", "“", '\\"']), chance.choice([1, 2, 4, -1]))
            case 9:
                text = text.replace(", ", chance.choice([",\n", "\n", ",,", "; "]), chance.choice([1, -1]))
            case 10:
                text = text.replace("false", chance.choice(["False", "FALSE", "no", "nul", "falsch"]))
            case 11:
                text = text.replace(
                    chance.choice(["looks", "mood", "deed"]), chance.choice(["Looks", "mo od", "deeds"])
                )
    return text


def test_ten_thousand_damaged_answers_end_in_an_outcome_and_none_in_a_wrong_value(question: Callable[..., Any]):
    chance = random.Random(7)
    asked = question()

    async def run() -> list[Outcome[Page]]:
        return [
            await ask(Says(corrupted(chance), corrupted(chance)), asked, Page) for _ in range(6_000)
        ]  # twice damaged each

    outcomes = asyncio.run(run())
    counted = Counter(outcome.how for outcome in outcomes)
    assert counted.total() == 6_000
    assert set(counted) == {"plain", "mended", "repaired", "failed"}
    for told in outcomes:
        assert (told.value is None) == (told.how == "failed")
        if told.value is not None:
            # The words may come out a little changed; what is decided may not.
            assert told.value.model_dump(exclude={"why"}) == PAGE.model_dump(exclude={"why"}), told.text


def test_schemas_bound_no_strings_and_want_every_key():
    schema = schema_of(Page)
    assert schema["required"] == ["looks", "mood", "leaves", "why"]
    look = schema["$defs"]["Look"]
    assert look["properties"]["letter"] == {"type": "string"}
    assert look["properties"]["rating"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert look["additionalProperties"] is schema["additionalProperties"] is False
    assert schema_of(Page) is schema
