"""What no policy may know, and what no company may change."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simenv.chance import key, mix
from simenv.environment import PageEnv
from simenv.errors import SimenvError
from simenv.eventlog import EventLog
from simenv.films import films_world
from simenv.loop import PageLoop, luck_of
from simenv.recommenders.ease import Ease
from simenv.rundir import RunDir
from simenv.scenarios.environments import cast
from simenv.scenarios.names import build
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Tiny = Callable[..., Scenario]


def test_a_policys_luck_is_not_the_users():
    dataset, population, _ = cast({"dataset": {"name": "films", "users": 40, "items": 80}})
    loop = PageLoop(dataset, population, page_size=3, max_pages=2)
    loop.enter(np.arange(40), 7)
    assert not np.intersect1d(loop.context().luck, luck_of(7, np.arange(40))).size
    assert np.array_equal(loop.context().luck, mix(key(0, "policy"), luck_of(7, np.arange(40))))


def test_an_oracles_page_is_the_same_in_every_company():
    truth = films_world(users=600, items=2000).truth
    together = truth.likes(np.arange(600))
    for user in range(0, 600, 37):
        assert np.array_equal(truth.likes(np.array([user]))[0], together[user])


def test_ease_wants_a_regularisation():
    with pytest.raises(SimenvError, match="regularisation is 0; it must be a number, above 0"):
        Ease(regularisation=0)


def test_an_environment_repeats_what_its_scenario_lets_be_repeated(tmp_path: Path):
    text = "name: again\ndataset: {name: films, users: 40, items: 80}\npolicies: [pop]\nleave_out_shown: false\n"
    (tmp_path / "again.yaml").write_text(text + "page_size: 3\nmax_pages: 5\npopulation: {name: truth, leave: -50}\n")
    dataset, population, rest = cast({"scenario": str(tmp_path / "again.yaml")})
    env = PageEnv(dataset, population, **rest)
    env.reset(seed=0)
    for _ in range(2):
        assert env.step(np.array([1, 2, 3]))[4]["items"].tolist() == [1, 2, 3]


def test_many_visits_make_few_files(tmp_path: Path):
    dataset, population, _ = cast({"dataset": {"name": "films", "users": 40, "items": 80}})
    env = PageEnv(dataset, population, page_size=3, max_pages=2, history=5, log=EventLog(tmp_path))
    env.reset(seed=0)
    ended = 0
    while ended < 30:
        *_, left, cut, _ = env.step(env.action_space.sample())
        if left or cut:
            ended += 1
            env.reset()
    env.close()
    assert len(list((tmp_path / "pages").iterdir())) == 1
    assert len({(row["seed"], row["user_id"]) for row in EventLog(tmp_path).pages().to_pylist()}) == 30


def test_a_policy_that_shows_nothing_is_measured_all_the_same(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
):
    class Nothing:
        def fit(self, dataset: object) -> None: ...

        def recommend(self, context: object, k: int) -> np.ndarray:
            return np.full((len(context), k), -1)  # type: ignore[arg-type]

    monkeypatch.setattr("simenv.recommenders.pop.Pop", Nothing)
    found: RunDir = run(tiny(policies=["pop", "random"]), tmp_path / "run")
    metrics = found.read_json("metrics.json")["pop"]
    assert metrics["coverage"]["mean"] == metrics["N_like"]["mean"] == 0
    assert metrics["P_view"]["mean"] is metrics["novelty"]["mean"] is None


class Peeks:
    """A stranger's policy that asks for the truth."""

    def __init__(self, *, truth: object = None) -> None:
        self.truth = truth

    def fit(self, dataset: object) -> None:
        """Learn nothing."""

    def recommend(self, context: object, k: int) -> None:
        """Show nothing."""

    def enter(self, users: object, luck: object) -> None:
        """Seat nobody."""


def test_a_strangers_policy_is_not_lent_the_truth(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "stranger", sys.modules[__name__])
    gifts = {"truth": films_world(users=40, items=80).truth}
    assert build("policy", "stranger:Peeks", {}, gifts).truth is None
    assert build("population", "stranger:Peeks", {}, gifts).truth is gifts["truth"]


def test_a_run_touches_no_network(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a run reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert run(tiny(), tmp_path / "run").manifest["status"] == "complete"
