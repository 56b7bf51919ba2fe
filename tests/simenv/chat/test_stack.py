"""All of it together: an ill-behaved server, everything that stands around a model, and a replay."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from simenv.chat.asking import Outcome, ask
from simenv.chat.budget import Budget, Budgeted
from simenv.chat.record import Record, Recorded
from simenv.chat.retries import Retried

GRADES = 7


class Verdict(BaseModel):
    grade: int = Field(ge=1, le=GRADES)
    why: str


def said(body: dict[str, Any]) -> str:
    """Return an answer that depends on the question alone, with the faults that models have."""
    chance = random.Random(body["messages"][-1]["content"])
    text = json.dumps({"grade": chance.randrange(1, GRADES + 1), "why": "Сойдёт. " * chance.choice([1, 5, 2000])})
    return chance.choice([text, text, f"```json\n{text}\n```", f"I think {text}.", text[:-9], "No idea.", ""])


def test_a_replay_of_a_troubled_run_is_the_same_run_and_makes_no_call(
    server: Any, made: Callable[..., Any], question: Callable[..., Any], script: Any, tmp_path: Path
):
    server.answer = said
    chance = random.Random(5)
    faults = [script.status(503), script.status(429, Retry_After="0.01"), script.hung_up, script.cut_short]
    faults += [script.body(b""), script.status(400)]
    server.faults = [chance.choice([None, None, *faults]) for _ in range(200)]
    record = Record(tmp_path / "answers.db")
    questions = [question(f"Film {n}?", draw=n % 2, most_tokens=64) for n in range(80)]

    async def run(replay: bool) -> list[Outcome[Verdict]]:
        inner = Budgeted(Retried(made(ways=["json"], slots=16), attempts=2, first=0.001), Budget(tokens=10**6))
        model = Recorded(inner, record, replay)
        outcomes = await asyncio.gather(*(ask(model, one, Verdict) for one in questions))
        await model.close()
        return outcomes

    first = asyncio.run(run(replay=False))
    calls = len(server.requests)
    again = asyncio.run(run(replay=True))

    assert again == first
    assert len(server.requests) == calls
    assert server.most_in_flight <= 16
    counted = Counter(outcome.how for outcome in first)
    assert all(counted[how] for how in ("plain", "mended", "repaired", "failed"))
