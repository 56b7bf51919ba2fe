"""What an endpoint sent back, read: an answer, or why there is none."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from simenv.errors import ChatError

from .faults import DeadEnd, Passing, Refused
from .model import Answer

SIDES = ((b"prompt", b"input"), (b"completion", b"output"))  # of usage, by their names in one API or another
AGAIN = frozenset({408, 409, 425, 429})  # worth asking again, as is whatever begins with 5


def answer_of(body: bytes, seconds: float) -> Answer:
    """Return the answer in a chat completion; where it is none, asking again may help."""
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        usage = reply.get("usage") or {}
        text, cut = _text(choice["message"]), choice.get("finish_reason") == "length"
        return Answer(text, tokens(usage, "prompt_tokens"), tokens(usage, "completion_tokens"), seconds, cut)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass  # raised below, where no chain holds the body
    if not body.strip():
        raise Passing("the endpoint answered with nothing at all")
    raise Passing(f"the endpoint answered with no chat completion: {complaint(body)}")


def tokens(usage: Mapping[str, Any], name: str) -> int:
    """Return a count of tokens, 0 where none is told that could be one."""
    told = usage.get(name)
    return told if isinstance(told, int) and 0 <= told < 2**31 else 0


USAGE = re.compile(rb'"(prompt|input|completion|output)_tokens"\s*:\s*(\d{1,10})\b')


def usage_of(body: bytes) -> tuple[int, int] | None:
    """Return the tokens in and out that a body tells of, whole or broken; None where it tells none."""
    told = {name: int(count) for name, count in USAGE.findall(body)}
    tokens_in, tokens_out = (told.get(one, told.get(other, 0)) for one, other in SIDES)
    return (tokens_in, tokens_out) if (tokens_in or tokens_out) and max(tokens_in, tokens_out) < 2**31 else None


def said_in(body: bytes) -> bytes:
    """Return what a model says in a body, or all of it where that cannot be read: so much it wrote at the most."""
    try:
        return _text(json.loads(body)["choices"][0]["message"]).encode("utf-8", "replace")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return body


def _text(message: Mapping[str, Any]) -> str:
    """Return what a message says: the arguments of a forced call, its content, or why it refuses."""
    calls = message.get("tool_calls")
    told = calls[0]["function"]["arguments"] if calls else message.get("content") or message.get("refusal") or ""
    return told if isinstance(told, str) else json.dumps(told)


def fault_of(status: int, headers: Mapping[str, str], body: bytes) -> ChatError:
    """Return what a status other than 200 means."""
    told = f"HTTP {status}: {complaint(body)}"
    if status == 402 or b"insufficient_quota" in body:
        return DeadEnd(f"the account has no credit left ({told})")
    if status in AGAIN or status >= 500:
        return Passing(f"the endpoint could not answer ({told})", retry_after(headers), status)
    if 300 <= status < 400:
        return DeadEnd(f"the endpoint sends elsewhere ({told}); give the address it moved to as base_url")
    return Refused(f"the endpoint refused the question ({told})")


def complaint(body: bytes) -> str:
    """Return in at most 200 characters what a body complains of."""
    text = body[:20_000].decode("utf-8", "replace")
    try:
        told = json.loads(text)
        error = told.get("error", told)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        pass
    return " ".join(text.split())[:200] or "no reason given"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, given in seconds or as a date; None where it says nothing."""
    told = headers.get("Retry-After", "")
    try:
        seconds = float(told)
    except ValueError:
        try:
            until = parsedate_to_datetime(told)
        except (ValueError, OverflowError):
            return None
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def models_of(body: bytes) -> list[str]:
    """Return the names that `/models` tells, none where it tells none."""
    try:
        return sorted(str(one["id"]) for one in json.loads(body)["data"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
