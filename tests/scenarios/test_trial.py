"""Own policies, own users and endpoints meet a few users first: a mistake is told before the long wait."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simenv.errors import PopulationError, SimenvError
from simenv.scenarios import runner
from simenv.scenarios.evaluation import evaluate, read_evaluation
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario, code_of

Tiny = Callable[..., Scenario]
POLICY = """
import numpy as np

class Mine:
    def __init__(self, least=0):
        self.least = least

    def fit(self, dataset):
        if len(dataset.interactions) < self.least:
            raise ValueError("too few rows to learn from")
        self.items = len(dataset.catalog)

    def recommend(self, context, k):
        {body}
"""
GOOD = "return context.top(np.ones((len(context), self.items)), k)"
USERS = """
from simenv.agents.choice import ChoicePopulation

class Mine(ChoicePopulation):
    def enter(self, users, luck):
        return Mistaken(super().enter(users, luck))

class Mistaken:
    def __init__(self, sessions):
        self.sessions = sessions

    def reseat(self, seats, users, luck):
        self.sessions.reseat(seats, users, luck)

    def react(self, page):
        found = self.sessions.react(page)
        return found if page.number[0] < 1 else found.mood
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a writer of code that lies beside a scenario; it is forgotten after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "tried", sys)  # so that it is put back
    del sys.modules["tried"]

    def write(code: str) -> Path:
        (tmp_path / "tried.py").write_text(code, encoding="utf-8")
        (tmp_path / "one.yaml").write_text("", encoding="utf-8")
        return tmp_path / "one.yaml"

    return write


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of a run be fitted."""

    def long(*_: object, **__: object) -> None:
        raise AssertionError("something long began")

    monkeypatch.setattr(runner, "fitted", long)
    monkeypatch.setattr(runner, "fitted_population", long)


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return self.scores", r"policy 'Mine' failed in recommend: AttributeError.*tried\.py:14: return self\.scores"),
        ("return np.zeros((len(context), k + 1), dtype=int)", r"policy 'Mine', recommend: a page of shape \(4, 6\)"),
        (f"return {GOOD[7:]} if not context.number[0] else 1 / 0", "ZeroDivisionError"),
    ],
)
def test_an_own_policy_is_tried_before_anything_long_begins(
    tiny: Tiny, tmp_path: Path, written: Callable[[str], Path], body: str, told: str
):
    file = written(POLICY.format(body=body))
    with code_of(file), pytest.raises(SimenvError, match=told):
        run(tiny(policies=["pop", "tried:Mine"], page_size=5), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("never")
def test_own_users_are_tried_before_anything_long_begins(tiny: Tiny, tmp_path: Path, written: Callable[[str], Path]):
    with code_of(written(USERS)), pytest.raises(PopulationError, match=r"population 'tried:Mine'.*no attribute 'mood'"):
        run(tiny(population="tried:Mine", policies=["pop"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_who_cannot_do_with_few_rows_is_fitted_to_all_before_it_is_refused(
    tiny: Tiny, tmp_path: Path, written: Callable[[str], Path]
):
    file = written(POLICY.format(body=GOOD))

    def with_least(least: int) -> Scenario:
        return tiny(policies=[{"name": "tried:Mine", "least": least}], users=2)

    with code_of(file):
        assert run(with_least(200), tmp_path / "run").manifest["status"] == "complete"
        with pytest.raises(SimenvError, match="too few rows to learn from"):
            run(with_least(10**6), tmp_path / "refused")


def test_an_evaluation_tries_own_policies_too(
    tmp_path: Path, written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("simenv.scenarios.evaluation.fitted", None)
    settings = ["dataset.users=40", "dataset.items=80", "policies=[pop, 'tried:Mine']"]
    question = read_evaluation("films", settings=settings)
    with code_of(written(POLICY.format(body="return self.scores"))), pytest.raises(SimenvError, match=r"tried\.py:14"):
        evaluate(question, tmp_path / "evaluation")


@pytest.fixture
def server(listening: Any) -> Any:
    """A server that answers nothing that could be read."""
    listening.answer = lambda _: "I would rather not say."
    return listening


@pytest.mark.parametrize("number", [40])
def test_an_endpoint_that_answers_nothing_readable_costs_a_few_users_questions(
    agents: Tiny, server: Any, tmp_path: Path
):
    with pytest.raises(PopulationError, match="5 of the first 5 questions got no answer that could be read"):
        run(agents(), tmp_path / "run")
    assert len(server.asked) <= 2 * 2 * runner.FEW  # each user's first pages, asked and asked to repair
