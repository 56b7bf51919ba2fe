"""Asking for an answer of a given form: read, mended where it is almost right, asked again once, or given up."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args, runtime_checkable

from json_repair import repair_json
from pydantic import BaseModel, ValidationError

from simenv.errors import ChatError

from .decisions import Chances, heard
from .faults import DeadEnd
from .model import Answer, ChatModel, Decision, Message, Question
from .ways import strict

Form = TypeVar("Form", bound=BaseModel)
How = Literal["plain", "mended", "repaired", "decided", "partly", "failed"]
HOWS: tuple[How, ...] = get_args(How)  # the worse ones later

SHOWN = 2_000  # characters of an answer that are shown again when asking for another
MENDABLE = 20_000  # characters; mending longer ones takes seconds, and no decision is as long
BRACES = 500  # likewise
OBJECTS = 8  # looked at in one text
FAULTS, COMPLAINT = 5, 500  # told of one object, and characters in all


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Form]):
    """What came of a question; without a value the asker's fallback holds."""

    value: Form | None
    how: How
    calls: int
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    text: str = ""  # of the last answer
    complaint: str | None = None  # what was wrong with the last answer that was not taken
    lost: int = 0  # of typed decisions, those that were refused or got no probabilities


@dataclass(frozen=True, slots=True)
class Typed(Generic[Form]):
    """A form as decisions, for models that take them, and what their probabilities come to.

    `settle` is told None of a decision that got none, and may return None where it makes nothing of what is left.
    """

    decisions: tuple[Decision, ...]
    settle: Callable[[Sequence[Chances | None]], Form | None]


@runtime_checkable
class Marking(Protocol):
    """A model that keeps its answers, and wants to hear which of them nothing could be made of."""

    def mark_unread(self, question: Question, unread: bool = True) -> None:
        """Note that the answer to this question could not be read, or that its repair could."""
        ...


async def ask(
    model: ChatModel,
    question: Question,
    form: type[Form],
    check: Callable[[Form], str | None] | None = None,
    typed: Typed[Form] | None = None,
) -> Outcome[Form]:
    """Return an answer of this form, or say that there is none.

    `check` complains in words of a value that has the form but makes no sense. The model gets one turn to repair what
    was wrong; who answers decisions gets none, for there is nothing to read wrongly. Only what no question could get
    past is raised: a dead end, or a spent budget. A model that keeps its answers hears which could not be read.
    """
    decisions = question.decisions if typed is None else typed.decisions
    if question.schema is None or decisions is not question.decisions:
        question = replace(question, schema=question.schema or schema_of(form), decisions=decisions)
    spent: list[Answer] = []
    keeps = model if isinstance(model, Marking) else None
    try:
        spent.append(await model.ask(question))
        if typed is not None and (chances := heard(spent[0].text, decisions)) is not None:
            outcome = _settled(typed, chances, spent)
            if outcome.value is None and keeps:
                keeps.mark_unread(question)
            return outcome
        reading = read(spent[0].text, form, check, spent[0].cut)
        if reading.value is not None:
            return _outcome(reading, "mended" if reading.mended else "plain", spent)
        if keeps:  # at once: a process that dies now leaves nothing behind that looks read
            keeps.mark_unread(question)
        again = _again(question, spent[0].text, reading.complaint or "")
        spent.append(await model.ask(again))
        reading = read(spent[1].text, form, check, spent[1].cut)
        if keeps:
            if reading.value is None:
                keeps.mark_unread(again)
            else:
                keeps.mark_unread(question, unread=False)
        return _outcome(reading, "failed" if reading.value is None else "repaired", spent)
    except DeadEnd:
        raise
    except ChatError as error:
        return _outcome(Reading(None, str(error)), "failed", spent, calls=len(spent) + 1)


@dataclass(frozen=True, slots=True)
class Reading(Generic[Form]):
    """A text, read: its value, or what is wrong with it."""

    value: Form | None
    complaint: str | None = None
    mended: bool = False  # whether it was more or less than the plain JSON it should be


def read(
    text: str, form: type[Form], check: Callable[[Form], str | None] | None = None, cut: bool = False
) -> Reading[Form]:
    """Return the value in a text: the first object in it that has the form, however it is wrapped.

    An object that does not end is not mended: what was cut off could have said otherwise.
    """
    complaint = "the answer was cut off before it ended, so be brief" if cut else "it is not one whole JSON object"
    plain = _plain(text)
    if plain is not None:
        return _checked(plain, text, form, check)
    for found in _objects(_said(text)):
        reading = _checked(found, text, form, check)
        if reading.value is not None:
            return replace(reading, mended=True)
        complaint = reading.complaint or complaint
    return Reading(None, complaint)


@lru_cache(maxsize=256)
def schema_of(form: type[BaseModel]) -> dict[str, Any]:
    """Return the schema that endpoints are asked to obey, one and the same for a form."""
    return strict(form.model_json_schema())


def _settled(typed: Typed[Form], chances: Sequence[Chances | None], spent: list[Answer]) -> Outcome[Form]:
    """Return what decisions come to, and how many of them had to do without."""
    value, lost = typed.settle(chances), sum(one is None for one in chances)
    told = f"{lost} of {len(chances)} decisions were refused or got no probabilities" if lost else None
    how: How = "failed" if value is None else "partly" if lost else "decided"
    return replace(_outcome(Reading(value, told), how, spent), lost=lost)


def _again(question: Question, text: str, complaint: str) -> Question:
    """Return the question that asks for a repair."""
    told = f"That answer cannot be used: {complaint}. Answer again with one JSON object of the form asked for, no more."
    turns = (Message("assistant", text[:SHOWN] or "(no answer)"), Message("user", told))
    return replace(question, messages=question.messages + turns, decisions=())


def _said(text: str) -> str:
    """Return what a model says after it has thought aloud; a thought without an end is followed by nothing."""
    return text.rpartition("</think>")[2].partition("<think>")[0]


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]} is no number that can be used")
    return number


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key stands twice in one object: which value is meant?")
    return made


DECODER = json.JSONDecoder(strict=False, parse_float=_finite, parse_constant=_no_number, object_pairs_hook=_once)
START = re.compile(r"""\{\s*(?:["'“”}]|\w+\s*:)""")  # of an object, rather than of a brace in a sentence


def _plain(text: str) -> dict[str, Any] | None:
    """Return the object that a text is, None where it is more or less than one."""
    try:
        found = DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost objects of a text up to the first damaged one, and that mended where it has an end."""
    begin = 0
    for _ in range(OBJECTS):
        start = START.search(text, begin)
        if start is None:
            return
        try:
            found, begin = DECODER.raw_decode(text, start.start())
            yield found
        except (ValueError, RecursionError):
            yield from _mended(text[start.start() : text.rfind("}") + 1])
            return


def _mended(text: str) -> Iterator[dict[str, Any]]:
    """Yield the object in a damaged text, if nothing of it is missing.

    json_repair makes something of any text, and of many something else. So as much must be closed as was opened, and
    mending may move marks but neither drop, add or change a word, nor make a key of half a line.
    """
    if len(text) > MENDABLE or text.count("{") > BRACES:
        return
    if not text or text.count("{") != text.count("}") or text.count("[") != text.count("]"):
        return
    try:
        found = repair_json(text, return_objects=True, skip_json_loads=True)
        same = _named(found) and _words(json.dumps(found, ensure_ascii=False)) == _words(text)
    except Exception:  # a guess at a damaged text may fail in any way; then there is none
        return
    if same and isinstance(found, dict):
        yield found


NAME = re.compile(r"[\w-]+")
MARKS = re.compile(r"[^\w.+-]+")


def _named(value: object) -> bool:
    """Return whether every key is a name."""
    if isinstance(value, dict):
        return all(map(NAME.fullmatch, value)) and all(map(_named, value.values()))
    return all(map(_named, value)) if isinstance(value, list) else True


def _words(text: str) -> str:
    """Return the letters and numbers of a text; False and false are one word."""
    return MARKS.sub("", text).casefold()


def _checked(
    found: dict[str, Any], text: str, form: type[Form], check: Callable[[Form], str | None] | None
) -> Reading[Form]:
    """Return the value that an object has in this form, or what is wrong with it."""
    try:
        if not text.isascii() or "\\u" in text:  # it may hold lone surrogates
            found = _encodable(found)
        value = form.model_validate(found)
        if _has_fractions(form) and not _all_finite(value.model_dump()):
            return Reading(None, "it holds a number that is none, or is infinite")
    except ValidationError as error:
        return Reading(None, _worded(error))
    except (ValueError, RecursionError) as error:
        return Reading(None, f"it cannot be read: {type(error).__name__}")
    complaint = check(value) if check is not None else None
    return Reading(value) if complaint is None else Reading(None, complaint)


def _worded(error: ValidationError) -> str:
    """Return the first faults of an object in words; its own text is left out."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)[:FAULTS]
    told = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the object'}: {fault['msg']}" for fault in faults)
    return told[:COMPLAINT]


def _encodable(value: Any) -> Any:
    """Return a value whose lone surrogates are question marks: no file takes them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    return [_encodable(one) for one in value] if isinstance(value, list) else value


@lru_cache(maxsize=256)
def _has_fractions(form: type[BaseModel]) -> bool:
    """Return whether this form holds fractions, which may be none or infinite: pydantic takes "NaN" and "1e999"."""
    return '"number"' in json.dumps(form.model_json_schema())


def _all_finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_all_finite, value.values()))
    return all(map(_all_finite, value)) if isinstance(value, list | tuple | set) else True


def _outcome(reading: Reading[Form], how: How, spent: list[Answer], calls: int | None = None) -> Outcome[Form]:
    if len(spent) == 1 and calls is None:  # as nearly always
        (one,) = spent
        text = one.text if one.text.isascii() else _encodable(one.text)
        return Outcome(reading.value, how, 1, one.tokens_in, one.tokens_out, one.seconds, text, reading.complaint)
    return Outcome(
        reading.value,
        how,
        len(spent) if calls is None else calls,
        sum(answer.tokens_in for answer in spent),
        sum(answer.tokens_out for answer in spent),
        sum(answer.seconds for answer in spent),
        _encodable(spent[-1].text) if spent else "",
        reading.complaint,
    )
