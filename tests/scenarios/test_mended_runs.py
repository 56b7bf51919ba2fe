"""Runs whose endpoint answers what nobody can read: once it is mended they go on, and the budget goes on with them."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from simenv.chat.model import Message, Question
from simenv.chat.scripted import Scripted
from simenv.errors import BudgetSpent, PopulationError
from simenv.rundir import ANSWERS, RunDir
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Tiny = Callable[..., Scenario]
Body = dict[str, Any]


def by_rules(body: Body) -> str:
    """Answer a request as the stand-in would."""
    if "response_format" not in body:
        return "Blue."
    schema = body["response_format"]["json_schema"]["schema"]
    messages = tuple(Message(one["role"], one["content"]) for one in body["messages"])
    if "word" in schema["properties"]:
        return json.dumps({name: one["enum"][0] for name, one in schema["properties"].items()})
    return json.dumps(Scripted().answer(Question("page", messages, schema, draw=body.get("seed", 0))))


def is_probe(body: Body) -> bool:
    return "rainbow" in str(body["messages"][0]["content"])


def broken(body: Body) -> str:
    """Answer a probe well and everything else with babble."""
    return by_rules(body) if is_probe(body) else "I would rather not say."


def babbling(nth: int) -> Callable[[Body], str]:
    """Return what answers every so manieth question with babble, and its repair likewise."""

    def answer(body: Body) -> str:
        mark = zlib.crc32(json.dumps([body["messages"][:2], body.get("seed")]).encode())
        return broken(body) if mark % nth == 0 else by_rules(body)

    return answer


@pytest.fixture
def server(listening: Any) -> Any:
    """A server that answers by the stand-in's rules, and charges by length."""
    listening.answer, listening.by_length = by_rules, True
    return listening


def told(body: bytes) -> str:
    """Return what was asked last."""
    return str(json.loads(body)["messages"][-1]["content"])


def rows(result: RunDir) -> tuple[pa.Table, pa.Table]:
    return result.events, result.pages


def spending(folder: Path, which: str = "1") -> tuple[int, int, int]:
    """Return the tokens in and out and the number of these requests in a run's record."""
    with closing(sqlite3.connect(folder / ANSWERS)) as record:
        sums = f"select coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0), count(*) from spending where {which}"
        found: tuple[int, int, int] = record.execute(sums).fetchone()
        return found


def billed(server: Any) -> tuple[int, int, int]:
    return *server.billed, server.bills


def changes(users: int, most_failed: float = 0.05, **model: Any) -> dict[str, Any]:
    """Return what a scenario of so many agents says."""
    told = {"kind": "endpoint", "model": "scripted", "ways": ["schema"], "timeout": 10.0, **model}
    population = {"name": "llm", "model": told, "most_failed": most_failed}
    return {"population": population, "users": users, "max_pages": 3, "offline": None}


@pytest.fixture
def some(tiny: Tiny) -> Tiny:
    """Return a maker of scenarios of so many agents; say what differs of their model."""
    return lambda users, most_failed=0.05, **model: tiny(**changes(users, most_failed, **model))


@pytest.mark.parametrize("users", [15, 5])
def test_a_run_stopped_by_unreadable_answers_goes_on_once_the_endpoint_is_mended(
    some: Tiny, server: Any, tmp_path: Path, users: int
):
    """Stopped early where much is asked, and at its end where there is little."""
    whole = rows(run(some(users), tmp_path / "whole"))
    server.answer = broken
    with pytest.raises(PopulationError, match="the same command with --resume asks these questions again"):
        run(some(users), tmp_path / "run")
    server.answer = by_rules

    mended = run(some(users), tmp_path / "run", resume=True)

    assert rows(mended) == whole
    assert mended.manifest["status"] == "complete"
    assert set(mended.readings["page"]) == {"plain"}


def test_only_what_could_not_be_read_is_asked_again(some: Tiny, server: Any, tmp_path: Path):
    """Every seventh page babbles; what was read before costs nothing again."""
    whole = rows(run(some(15), tmp_path / "whole"))
    server.bodies.clear()
    server.answer = babbling(7)
    with pytest.raises(PopulationError, match="got no answer that could be read"):
        run(some(15), tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / ANSWERS)) as record:
        (unread,) = record.execute("select count(*) from answers where unread").fetchone()
    first = Counter(server.bodies)
    server.bodies.clear()
    server.answer = by_rules

    assert rows(run(some(15), tmp_path / "run", resume=True)) == whole

    twice = [body for body in server.bodies if body in first and not is_probe(json.loads(body))]
    assert 0 < len(twice) <= unread < sum(first.values())


def test_a_replay_tells_the_recorded_failures_again(some: Tiny, server: Any, tmp_path: Path):
    """Whether a run was ever mended or not, its record holds what its log does."""
    server.answer = babbling(5)
    first = run(some(8, 0.9), tmp_path / "run")
    assert first.readings["page"]["failed"]
    calls = len(server.bodies)
    assert rows(run(some(8, 0.9), tmp_path / "again", replay=tmp_path / "run")) == rows(first)
    with pytest.raises(BudgetSpent):
        run(some(8, 0.9, budget={"tokens": 15_000}), tmp_path / "mended")
    server.answer = babbling(11)
    calls = len(server.bodies)
    mended = run(some(8, 0.9), tmp_path / "mended", resume=True)
    assert len(server.bodies) > calls
    calls = len(server.bodies)
    assert rows(run(some(8, 0.9), tmp_path / "same", replay=tmp_path / "mended")) == rows(mended)
    assert len(server.bodies) == calls


def test_a_complete_run_asks_nothing_again(some: Tiny, server: Any, tmp_path: Path):
    server.answer = babbling(5)
    first = rows(run(some(8, 0.9), tmp_path / "run"))
    server.answer = by_rules
    calls = len(server.bodies)
    assert rows(run(some(8, 0.9), tmp_path / "run", resume=True)) == first
    assert len(server.bodies) == calls


@pytest.mark.parametrize("word", ["# Page", "# What a person took", "# An item"])
def test_personas_and_items_that_could_not_be_written_are_written_anew(
    tiny: Tiny, server: Any, tmp_path: Path, word: str
):
    model = {"kind": "endpoint", "model": "scripted", "ways": ["schema"]}
    told = {"personas": "written", "item_texts": "written", "afterwards": ["items"], "model": model}
    scenario = tiny(population={"name": "llm", **told}, users=6, max_pages=2, offline=None)
    whole = run(scenario, tmp_path / "whole")
    server.answer = lambda body: broken(body) if word in str(body["messages"]) else by_rules(body)
    with pytest.raises(PopulationError, match="could be read"):
        run(scenario, tmp_path / "run")
    server.answer = by_rules

    mended = run(scenario, tmp_path / "run", resume=True)

    assert rows(mended) == rows(whole)
    for name in ("personas.jsonl", "item_texts.jsonl"):
        assert mended.read_lines(name) == whole.read_lines(name)
    calls = len(server.bodies)
    assert rows(run(scenario, tmp_path / "same", replay=tmp_path / "run")) == rows(whole)
    assert len(server.bodies) == calls


def test_spending_is_what_the_server_charged_probes_repairs_and_broken_answers_included(
    tiny: Tiny, server: Any, tmp_path: Path, script: Any
):
    model = {"kind": "endpoint", "model": "scripted"}
    population = {"name": "llm", "model": model, "most_failed": 1.0, "memory": {"recall": 1}}
    population |= {"encoder": {"kind": "endpoint", "model": "scripted"}}
    server.answer = babbling(3)
    no_answer = {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 2}}
    server.faults = [None, None, script.status(503), None, script.body(json.dumps(no_answer).encode())] * 4

    result = run(tiny(population=population, users=8, max_pages=3, offline=None), tmp_path / "run")

    charged = server.billed[0] + 4 * 11, server.billed[1] + 4 * 2
    assert not server.faults
    assert spending(tmp_path / "run", "counted = 'told'")[:2] == charged
    assert spending(tmp_path / "run", "counted <> 'told'") == (0, 0, 0)
    assert result.readings["page"]["failed"]
    kinds = {kind: (one.tokens_in, one.tokens_out) for kind, one in result.usage.items()}
    assert {"page", "probe", "embedding"} <= set(kinds)
    assert tuple(map(sum, zip(*kinds.values(), strict=True))) == charged


def test_agents_of_two_kinds_share_a_budget_and_ask_once_what_they_ask_alike(tiny: Tiny, server: Any, tmp_path: Path):
    """Both have the items described: those that cannot be read are asked for once, and a replay tells it so again."""
    model = {"kind": "endpoint", "model": "scripted", "ways": ["schema"], "budget": {"tokens": 1_000_000}}
    kind = {"name": "llm", "model": model, "item_texts": "written", "most_failed": 1.0}
    population = {"name": "mixture", "of": [kind | {"label": "one"}, kind | {"label": "other"}]}
    scenario = tiny(population=population, users=12, max_pages=2, offline=None)
    server.answer = lambda body: broken(body) if "# An item" in str(body["messages"]) else by_rules(body)

    result = run(scenario, tmp_path / "run")

    asked = Counter(body for body in server.bodies if not is_probe(json.loads(body)))
    assert set(asked.values()) == {1}
    assert spending(tmp_path / "run")[:2] == tuple(server.billed)
    assert [file.name for file in (tmp_path / "run").glob("answers*")] == [ANSWERS]
    calls = len(server.bodies)
    assert rows(run(scenario, tmp_path / "again", replay=tmp_path / "run")) == rows(result)
    assert len(server.bodies) == calls


def test_the_budget_of_a_resumed_run_goes_on_where_it_stopped(some: Tiny, server: Any, tmp_path: Path):
    with pytest.raises(BudgetSpent):
        run(some(15, budget={"tokens": 40_000}), tmp_path / "run")
    spent, calls = sum(spending(tmp_path / "run")[:2]), len(server.bodies)
    assert 20_000 < spent <= 40_000
    with pytest.raises(BudgetSpent, match=f"the budget of 40,000 tokens is spent: {spent:,} so far"):
        run(some(15, budget={"tokens": 40_000}), tmp_path / "run", resume=True)
    assert len(server.bodies) <= calls + 1
    with pytest.raises(BudgetSpent):
        run(some(15, budget={"tokens": 60_000}), tmp_path / "run", resume=True)
    assert sum(server.billed) <= 60_000
    assert spending(tmp_path / "run", "counted = 'told'")[:2] == tuple(server.billed)


def test_a_budget_of_seconds_goes_on_too(some: Tiny, server: Any, tmp_path: Path):
    server.delay = 0.2
    with pytest.raises(BudgetSpent):
        run(some(15, budget={"seconds": 1.5}, slots=2), tmp_path / "run")
    calls, began = len(server.bodies), time.monotonic()
    with pytest.raises(BudgetSpent, match=r"1\.5 seconds is spent"):
        run(some(15, budget={"seconds": 1.5}, slots=2), tmp_path / "run", resume=True)
    assert len(server.bodies) <= calls + 2
    assert time.monotonic() - began < 5


KILLABLE = """
import sys
from pathlib import Path
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import read_scenario
run(read_scenario(sys.argv[1]), Path(sys.argv[2]), resume=True)
"""


def test_a_run_killed_again_and_again_pays_nothing_twice_and_knows_what_it_spent(
    some: Tiny, server: Any, tmp_path: Path, tiny_file: Callable[..., Path]
):
    """What was on its way when the process died is counted at the most that it can have cost."""
    scenario = some(12, slots=4, seed=True)
    whole = rows(run(scenario, tmp_path / "whole"))
    file = tiny_file(**changes(12, slots=4, seed=True))
    server.bodies.clear()
    server.billed, server.bills, server.delay = [0, 0], 0, 0.02
    folder, killed = tmp_path / "run", 0
    for bills in (5, 20, 45):
        child = subprocess.Popen([sys.executable, "-c", KILLABLE, file, folder], env=os.environ)
        while child.poll() is None and server.bills < bills:
            time.sleep(0.001)
        killed += child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        time.sleep(0.1)  # for what the server still answers
        assert spending(folder, "counted = 'told'")[:2] <= tuple(server.billed) <= spending(folder)[:2]
    assert killed == 3

    assert rows(run(scenario, folder, resume=True)) == whole

    pages = Counter(body for body in server.bodies if not is_probe(json.loads(body)))
    lost = spending(folder, "counted <> 'told'")[2]
    assert sum(count - 1 for count in pages.values()) <= lost <= 3 * 4
    assert spending(folder)[2] - lost <= server.bills <= spending(folder)[2]
    assert spending(folder, "counted = 'told'")[0] <= server.billed[0] <= spending(folder)[0]
    assert spending(folder, "counted = 'told'")[1] <= server.billed[1] <= spending(folder)[1]
