"""Runs whose users are partly agents: one log, the agents' record beside it, and the same after a crash."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simenv.chat.model import Answer, Question
from simenv.chat.scripted import Scripted
from simenv.errors import BudgetSpent, SimenvError
from simenv.rundir import PERSONAS, RunDir
from simenv.scenarios.distil import lessons_of
from simenv.scenarios.estimate import estimate
from simenv.scenarios.interview import interview, personas_of
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Tiny = Callable[..., Scenario]
OF = [{"name": "llm", "share": 0.4}, {"name": "choice", "share": 0.6}]
USERS = {"name": "mixture", "of": OF}


@pytest.fixture
def played(tiny: Tiny, tmp_path: Path) -> RunDir:
    return run(tiny(population=USERS, max_pages=3), tmp_path / "run")


def kinds(result: RunDir) -> tuple[set[Any], set[Any]]:
    """Return who answered in words, and who did not."""
    rows = result.pages.to_pylist()
    spoke = {row["user_id"] for row in rows if row["reading"]}
    return spoke, {row["user_id"] for row in rows} - spoke


def test_each_of_both_kinds_leaves_what_his_kind_leaves(played: RunDir):
    agents, others = kinds(played)
    assert len(agents) > 8
    assert len(others) > 8
    told = played.read_lines(PERSONAS)
    assert {one["user"] for one in told} == {str(one) for one in agents}
    assert {one["kind"] for one in told} == {"llm"}
    asked = played.readings["page"]
    assert sum(asked.values()) == sum(bool(row["reading"]) for row in played.pages.to_pylist())
    page = (played.folder / "report.html").read_text()
    assert "llm: users, played by a scripted stand-in" in page


def test_a_run_that_broke_off_goes_on_to_the_same_log(
    played: RunDir, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked, ask = 0, Scripted.ask

    async def broken(self: Scripted, question: Question) -> Answer:
        nonlocal asked
        asked += 1
        if asked > 40:
            raise BudgetSpent("enough")
        return await ask(self, question)

    scenario = tiny(population=USERS, max_pages=3, batch_size=10)
    with monkeypatch.context() as patch:
        patch.setattr(Scripted, "ask", broken)
        with pytest.raises(BudgetSpent, match="enough"):
            run(scenario, tmp_path / "again")
    again = run(scenario, tmp_path / "again", resume=True)
    assert again.events == played.events
    assert again.pages == played.pages


def test_only_agents_can_be_asked_afterwards(played: RunDir):
    agents, others = (sorted(some)[0] for some in kinds(played))
    assert interview(played.folder, str(agents), "What do you remember?")
    assert len(list(personas_of(str(played.folder), user=str(agents)))) == 1
    for ask in (
        lambda: interview(played.folder, str(others), "Well?"),
        lambda: list(personas_of(str(played.folder), user=str(others))),
    ):
        with pytest.raises(SimenvError, match=rf"user {others} is one of 'choice', who have no words"):
            ask()


def test_an_estimate_counts_the_agents_alone(tiny: Tiny):
    of = [{"name": "llm", "share": 1, "model": {"kind": "scripted"}}, {"name": "choice", "share": 1}]
    part = estimate(tiny(population={"name": "mixture", "of": of}, max_pages=3))
    whole = estimate(tiny(population="llm", max_pages=3))
    assert 0.3 * whole.calls < part.calls < 0.7 * whole.calls


def test_a_model_can_be_taught_by_users_of_both_kinds(played: RunDir):
    lessons, facts = lessons_of(str(played.folder), [], 1000, 0)
    assert len(lessons) == len(played.pages)
    assert facts["source"]["population"] == "mixture"


def test_the_battery_holds_them_up_like_others(tiny: Tiny, tmp_path: Path):
    result = run(
        tiny(population=USERS, max_pages=3, fidelity={"users": 20, "calls": 20_000, "tests": ["taste"]}),
        tmp_path / "held",
    )
    (taste,) = [one for one in result.read_json("fidelity.json")["tests"] if one["test"] == "taste"]
    assert taste["verdict"] in ("pass", "warn", "fail")
    assert taste["figures"]
