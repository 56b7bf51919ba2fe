"""The ways in which an endpoint is asked for an answer of a given form, and which of them it obeys."""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from .model import Message, Question


class Way(StrEnum):
    """How the form of an answer is asked for, best first.

    Decisions are for questions that name some, and give probabilities; the other ways give words, and one of them is
    found for the questions that are left.
    """

    DECISIONS = "decisions"  # typed, in requests to /decisions
    SCHEMA = "schema"  # response_format of type json_schema, strict
    TOOL = "tool"  # a call of one tool is forced, whose arguments have the schema
    JSON = "json"  # in words


def way_fields(way: Way | None, question: Question) -> dict[str, Any]:
    """Return what a request says besides its messages so that the answer has the question's form."""
    if question.schema is None or way is None or way is Way.JSON:
        return {}
    name = re.sub(r"[^A-Za-z0-9_-]", "_", question.kind)[:64] or "answer"
    if way is Way.SCHEMA:
        form = {"name": name, "strict": True, "schema": question.schema}
        return {"response_format": {"type": "json_schema", "json_schema": form}}
    function = {"name": name, "description": "Give the answer.", "parameters": question.schema, "strict": True}
    return {
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": name}},
    }


def words(schema: Mapping[str, Any]) -> str:
    """Return the demand for this form in words, to end the first message with."""
    told = json.dumps(schema, ensure_ascii=False)
    return f"\n\nAnswer with one JSON object and nothing else. It has to fit this JSON schema:\n{told}"


# What servers refuse under strict schemas, or obey badly: bounds of strings break escapes under some grammars.
DROPPED = frozenset({"minLength", "maxLength", "pattern", "format", "default", "title", "examples", "discriminator"})
NAMED = ("properties", "$defs")  # schemas by name, where 'title' is a name and no annotation


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as strict endpoints take it: no bounds of strings, all keys required, no others allowed."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}  # it suffers nothing beside it
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in NAMED:
            made[key] = {name: strict(one) for name, one in value.items()}
        elif key not in DROPPED:
            made["anyOf" if key == "oneOf" else key] = _inner(value)
    if "properties" in made:
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made


def _inner(value: Any) -> Any:
    if isinstance(value, Mapping):
        return strict(value)
    return [strict(one) if isinstance(one, Mapping) else one for one in value] if isinstance(value, list) else value


# Nothing but the schema tells the word: who answers with it obeys the schema, whatever else it says it does.
SEAL = "kiwi-7q2"
SEALED = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [SEAL]}},
    "required": ["word"],
    "additionalProperties": False,
}


def probe(most_tokens: int) -> Question:
    """Return a tiny question that is answered with SEAL only where its schema is obeyed."""
    asked = Message("user", "Name one colour of the rainbow. Answer with one word.")
    return Question("probe", (asked,), SEALED, most_tokens=most_tokens)


def obeyed(text: str) -> bool:
    """Return whether a probe's answer has the form that was asked for."""
    try:
        return bool(json.loads(text, strict=False) == {"word": SEAL})
    except (ValueError, RecursionError):
        return False
