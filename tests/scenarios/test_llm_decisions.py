"""Runs whose endpoint gives probabilities: whatever the slots, the order or a crash, the log is the same."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
import yaml

from simenv.errors import BudgetSpent, PopulationError
from simenv.rundir import RunDir
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Tiny = Callable[..., Scenario]

RUN = """
import sys
from pathlib import Path
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import read_scenario
run(read_scenario(sys.argv[1]), Path(sys.argv[2]), resume=True)
"""


@pytest.fixture
def ways() -> list[str]:
    """Decisions are asked for first."""
    return ["decisions", "schema"]


@pytest.fixture
def number() -> int:
    """Enough that one budget lets some of them finish, and not all."""
    return 20


@pytest.fixture
def server(listening: Any, script: ModuleType) -> Any:
    """A server that gives probabilities by what it is asked, refuses some, and answers in words by their schema."""

    def decide(body: dict[str, Any]) -> dict[str, Any]:
        def chances(name: str, options: list[str]) -> list[float] | None:
            luck = random.Random(body["input"] + name)
            told = [luck.random() for _ in options]
            return None if luck.random() < 0.02 else [one / sum(told) for one in told]

        found: dict[str, Any] = script.deciding(body, chances)
        return found

    listening.decides = decide
    return listening


def rows(result: RunDir) -> tuple[pa.Table, pa.Table]:
    return result.events, result.pages


@pytest.mark.usefixtures("plain")
def test_the_manifest_says_that_decisions_were_asked_and_how_many_were_settled(tmp_path: Path, server: Any):
    told = json.loads((tmp_path / "plain" / "manifest.json").read_text())
    assert told["population"]["model"]["ways"] == ["decisions", "schema"]
    assert told["ways"] == ["decisions", "schema"]
    assert set(told["readings"]["page"]) == {"decided", "partly"}
    assert told["readings"]["page"]["decided"] > told["readings"]["page"]["partly"] > 0
    asked = [body for body in server.asked if "questions" in body]
    assert len(asked) >= sum(told["readings"]["page"].values())
    assert any(body["questions"][0]["instructions"].endswith("from 1 to 10?") for body in asked)


def test_some_like_some_leave_and_nobody_says_a_word(plain: tuple[pa.Table, pa.Table]):
    events, pages = plain
    assert len(set(events["grade"].to_pylist())) >= 4
    assert set(pages["exit_cause"].to_pylist()) > {None, "bored", "tired"}
    assert not any(pages["words"].to_pylist())
    assert any(json.loads(told) for told in pages["remembered"].to_pylist())


@pytest.mark.parametrize("path", ["direct", "compatible"])
def test_answers_in_any_order_and_any_number_at_once_leave_the_same_log(
    agents: Tiny, server: Any, tmp_path: Path, plain: tuple[pa.Table, pa.Table], path: str
):
    at_once = server.decides

    def late(body: dict[str, Any]) -> Any:
        time.sleep(random.random() * 0.005)
        return at_once(body)

    server.decides = late
    for slots in (1, 64):
        assert rows(run(agents(slots=slots, path=path), tmp_path / str(slots))) == plain


def test_a_replay_is_the_same_without_a_call(
    agents: Tiny, server: Any, tmp_path: Path, plain: tuple[pa.Table, pa.Table]
):
    asked = len(server.bodies)
    assert rows(run(agents(), tmp_path / "again", replay=tmp_path / "plain")) == plain
    assert len(server.bodies) == asked


def test_a_run_that_was_stopped_or_killed_goes_on_to_the_same_log(
    agents: Tiny, server: Any, tmp_path: Path, plain: tuple[pa.Table, pa.Table]
):
    whole = len(server.bodies)
    server.bodies.clear()
    with pytest.raises(BudgetSpent, match="tokens is spent"):
        run(agents(budget={"tokens": 60 * whole}), tmp_path / "stopped")
    assert 0 < len(server.bodies) < whole
    assert rows(run(agents(slots=3), tmp_path / "stopped", resume=True)) == plain
    # A probe more, and whatever was on its way as the budget was spent: no answer had come back for it.
    assert whole + 1 <= len(server.bodies) <= whole + 4

    server.bodies.clear()
    file = tmp_path / "killed.yaml"
    file.write_text(agents().text(), encoding="utf-8")
    assert yaml.safe_load(file.read_text())["users"] == 20
    server.delay = 0.02
    child = subprocess.Popen([sys.executable, "-c", RUN, file, tmp_path / "killed"])
    while child.poll() is None and len(server.bodies) < whole // 2:
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    server.delay = 0.0
    assert rows(run(agents(), tmp_path / "killed", resume=True)) == plain


def test_a_run_whose_decisions_are_mostly_refused_fails(agents: Tiny, server: Any, tmp_path: Path):
    answered = server.decides

    def refuse(body: dict[str, Any]) -> dict[str, Any]:
        if "rainbow" in body["input"]:
            found: dict[str, Any] = answered(body)
            return found
        return {"answers": [{"name": one["name"], "type": "refusal"} for one in body["questions"]]}

    server.decides = refuse
    with pytest.raises(PopulationError, match=r"no answer that could be read.*8 of 8 decisions were refused"):
        run(agents(), tmp_path / "refused")
