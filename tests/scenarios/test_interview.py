"""Agents can be looked at one by one, and asked after a run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from simenv.agents.persona import VERSION
from simenv.errors import RunError, SimenvError
from simenv.rundir import RunDir
from simenv.scenarios.interview import interview, personas_of
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Tiny = Callable[..., Scenario]


@pytest.fixture
def played(tiny: Tiny, tmp_path: Path) -> RunDir:
    """A run of all forty agents with two policies."""
    return run(tiny(population="llm", max_pages=3), tmp_path / "run")


def test_an_agent_tells_of_what_it_met_in_the_session(played: RunDir):
    rows = played.log.pages().filter(played.log.pages()["policy"].cast("string").to_numpy() == "pop").to_pylist()
    last = [row for row in rows if row["user_id"] == rows[0]["user_id"]][-1]
    fact = json.loads(last["remembered"])[-1][2]

    said = interview(played.folder, str(last["user_id"]), "What do you remember?", policy="pop")

    assert fact.lower() in said.lower()


def test_sessions_with_another_policy_are_remembered_apart(played: RunDir):
    users = sorted(set(played.log.pages()["user_id"].to_pylist()))
    apart = [
        interview(played.folder, str(user), "And?", "pop") != interview(played.folder, str(user), "And?", "random")
        for user in users[:5]
    ]
    assert any(apart)


def test_what_cannot_be_asked_is_told(played: RunDir, finished: RunDir):
    with pytest.raises(SimenvError, match="no user 4711 takes part; there are 40, such as"):
        interview(played.folder, "4711", "Who are you?")
    with pytest.raises(RunError, match="--policy ease: the run has random, pop"):
        interview(played.folder, "1", "Who are you?", policy="ease")
    with pytest.raises(RunError, match="no session of user 1 with policy random and seed 9"):
        interview(played.folder, "1", "Who are you?", seed=9)
    with pytest.raises(SimenvError, match="are of the population 'truth'; only 'llm' has agents"):
        interview(finished.folder, "1", "Who are you?")


def test_personas_are_told_with_their_mark(played: RunDir):
    told = [json.loads(line) for line in personas_of(str(played.folder))]
    assert len(told) == 40
    assert {"user", "tastes", "activity", "usual", "mark", "version"} <= set(told[0])
    assert len({one["mark"] for one in told}) == 40
    assert [json.loads(line) for line in personas_of(str(played.folder), user=told[3]["user"])] == [told[3]]


def test_a_scenario_file_tells_of_its_agents_too(tiny_file: Callable[..., Path]):
    assert len(list(personas_of(str(tiny_file(population="llm"))))) == 40


@pytest.mark.parametrize("line", [f'{{"version": {VERSION}}}', "[]", f'{{"version": {VERSION}, "user": "3"}}'])
def test_personas_that_are_damaged_are_told(tiny: Tiny, tmp_path: Path, line: str):
    run(tiny(population="llm", max_pages=1), tmp_path / "run")
    (tmp_path / "run" / "personas.jsonl").write_text(f"{line}\n")
    with pytest.raises(SimenvError, match=r"personas\.jsonl.*(tells of no persona|is no mapping); the file is damaged"):
        list(personas_of(str(tmp_path / "run")))
