"""Typed decisions: questions with few answers each, answered by a probability for every one and by no text.

They are asked in the shape of OpenAI's `/v1/decisions`, which others share, so many in one request. What comes back
becomes an answer like any other, whose text is JSON: `{"decisions": {name: probabilities}}`, in the order of the
options. A decision that was refused, or whose probabilities are none, has a word in their place.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .faults import Passing
from .model import Answer, Decision, Message, Question
from .replies import complaint, tokens

MOST = 64  # in one request; some endpoints take more, none that we know takes fewer
OPENING = '{"decisions":'  # of the text of such an answer
ROUNDING = 0.02  # by which probabilities may miss 1
DIGITS = 6
NUMBERS = frozenset({int, float})  # of JSON; true is none
Chances = tuple[float, ...]  # of each option; they sum to about 1


def parts(decisions: Sequence[Decision]) -> list[Sequence[Decision]]:
    """Return the decisions of each request."""
    return [decisions[begin : begin + MOST] for begin in range(0, len(decisions), MOST)]


def in_request(decision: Decision) -> dict[str, Any]:
    """Return what a request says of a decision."""
    told = {"type": decision.kind, "name": decision.name, "instructions": decision.text}
    if decision.kind == "choice":
        return told | {"choices": [{"value": option} for option in decision.options]}
    if decision.kind == "score":
        return told | {"levels": [{"label": option} for option in decision.options]}
    return told


def said(question: Question) -> str:
    """Return what decisions are about: a text, since not every endpoint takes all roles of a conversation."""
    return "\n\n".join(message.text for message in question.messages)


def decided(bodies: Sequence[bytes], decisions: Sequence[Decision], seconds: float) -> Answer:
    """Return the answer in what each request got; where it is none, asking again may help."""
    found: dict[str, list[float] | str] = {}
    tokens_in = tokens_out = 0
    for body, part in zip(bodies, parts(decisions), strict=True):
        answers, usage = _reply(body)
        tokens_in += tokens(usage, "input_tokens")
        tokens_out += tokens(usage, "output_tokens")
        for decision, answer in zip(part, _sorted(answers, part), strict=True):
            found[decision.name] = _chances(answer, decision)
    return Answer(f"{OPENING}{_dumps(found)}}}", tokens_in, tokens_out, seconds)


def is_decided(text: str) -> bool:
    """Return whether an answer's text holds probabilities rather than words."""
    return text.startswith(OPENING)


def heard(text: str, decisions: Sequence[Decision]) -> list[Chances | None] | None:
    """Return the probabilities in an answer's text, None for a decision without; None where these are words."""
    if not is_decided(text):
        return None
    try:
        found = json.loads(text)["decisions"]
        return [_kept(found.get(decision.name), len(decision.outcomes)) for decision in decisions]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def probe() -> Question:
    """Return a tiny question with a decision of each kind, as long as ours are."""
    levels = tuple(str(level) for level in range(1, 11))
    asked = (
        Decision("blue", "predicate", "Blue is a colour of the rainbow."),
        Decision("colour", "choice", "Which is a colour of the rainbow?", ("red", "pink", "grey", "brown", "black")),
        Decision("liked", "score", "How much do you like rainbows, from 1 to 10?", levels),
    )
    return Question("probe", (Message("user", "A rainbow stands in the sky."),), decisions=asked)


def _reply(body: bytes) -> tuple[list[Any], Mapping[str, Any]]:
    try:
        reply = json.loads(body)
        answers, usage = reply["answers"], reply.get("usage") or {}
        if isinstance(answers, list) and isinstance(usage, dict):
            return answers, usage
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass  # raised below, where no chain holds the body
    raise Passing(f"the endpoint answered with no decisions: {complaint(body)}")


def _sorted(answers: Sequence[Any], asked: Sequence[Decision]) -> list[Any]:
    """Return the answer to each decision: by its name, or by their order where none bears a name; None where none."""
    named: dict[str, list[Any]] = {}
    for answer in answers:
        name = answer.get("name") if isinstance(answer, dict) else None
        if isinstance(name, str):
            named.setdefault(name, []).append(answer)
    if named:  # who bears the name of two has that of none
        mine = [named.get(decision.name, []) for decision in asked]
        return [some[0] if len(some) == 1 else None for some in mine]
    if len(answers) != len(asked):
        raise Passing(f"the endpoint answered {len(answers)} of {len(asked)} decisions, and not which")
    return list(answers)


def _chances(answer: Any, decision: Decision) -> list[float] | str:
    """Return the probabilities in an answer, or the word for why there are none."""
    if not isinstance(answer, dict):
        return "missing"
    if answer.get("type") == "refusal":
        return "refused"
    try:
        if answer.get("type") != decision.kind:
            return "unreadable"
        if decision.kind == "predicate":
            told = {"true": answer["probability"], "false": max(0.0, 1 - answer["probability"])}
        else:
            # The number of a level is its place for some and its label for others, so the label alone is asked.
            key = "value" if decision.kind == "choice" else "label"
            told = {one[key]: one["probability"] for one in answer["probabilities"]}
            if len(told) < len(answer["probabilities"]):
                return "unreadable"
        chances = [told.pop(option) for option in decision.outcomes]
        return [round(chance, DIGITS) for chance in chances] if not told and _sums(chances) else "unreadable"
    except (ValueError, TypeError, LookupError, OverflowError):
        return "unreadable"


def _kept(found: object, count: int) -> Chances | None:
    return tuple(found) if isinstance(found, list) and len(found) == count and _sums(found) else None


def _sums(chances: Sequence[Any]) -> bool:
    """Return whether these are probabilities of all that can be; NaN is none."""
    if not NUMBERS.issuperset(map(type, chances)):
        return False
    return (
        min(chances) >= 0 and max(chances) <= 1 + ROUNDING and abs(sum(chances) - 1) <= ROUNDING
    )  # with NaN the sum is not


_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
