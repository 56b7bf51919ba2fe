"""What taught a policy must not grade it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simenv.errors import SimenvError, StoreError
from simenv.films import films_world
from simenv.provenance import SimulatedSource, check_unseen, seeds_seen, world_of
from simenv.recommenders.pop import Pop
from simenv.recommenders.saved import Saved
from simenv.scenarios.runner import run
from simenv.store import ABOUT, load_policy, save_policy

WORLD = films_world(users=40, items=80).dataset


class Pupil(Pop):
    """Tells that it learnt from simulated users."""

    def __init__(self, *seeds: int, world: str = world_of(WORLD)) -> None:
        super().__init__()
        self.simulated_sources = (SimulatedSource(world, "choice", seeds, 40),)


def test_a_seed_that_taught_is_refused_and_another_is_not():
    check_unseen(Pupil(3, 4), WORLD, [0, 5], "mine")
    with pytest.raises(SimenvError, match="policy 'mine': it learnt from these users' verdicts with seed 4"):
        check_unseen(Pupil(3, 4), WORLD, [0, 4], "mine")
    check_unseen(Pop(), WORLD, [0, 3], "pop")


def test_other_rows_of_the_same_users_are_the_same_world_and_other_users_are_not():
    half = WORLD.only(WORLD.interactions[np.arange(len(WORLD.interactions)) % 2 == 0])
    assert seeds_seen(Pupil(3), half) == {3}
    other = films_world(users=41, items=80).dataset
    assert seeds_seen(Pupil(3), other) == set()


def test_a_run_is_refused_before_anybody_enters(tiny, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Pop, "simulated_sources", Pupil(7).simulated_sources, raising=False)
    with pytest.raises(SimenvError, match=r"policy 'pop'.*seed 7.*judge it with other seeds"):
        run(tiny(policies=["pop"], seeds=[1, 7]), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    assert run(tiny(policies=["pop"], seeds=[1, 2]), tmp_path / "played").manifest["status"] == "complete"


def test_a_saved_policy_tells_from_whom_it_learnt(tmp_path: Path):
    policy = Pop()
    policy.simulated_sources = Pupil(7, 9).simulated_sources
    policy.fit(WORLD)
    save_policy(policy, tmp_path / "pupil")
    about = json.loads((tmp_path / "pupil" / ABOUT).read_text())
    assert about["learnt_from"] == [{"world": world_of(WORLD), "population": "choice", "seeds": [7, 9], "users": 40}]
    assert Saved(path=tmp_path / "pupil").simulated_sources == policy.simulated_sources

    about["learnt_from"] = [{"seeds": "many"}]
    (tmp_path / "pupil" / ABOUT).write_text(json.dumps(about))
    with pytest.raises(StoreError, match="what it learnt from cannot be read"):
        _ = Saved(path=tmp_path / "pupil").simulated_sources


def test_a_policy_that_learnt_from_nobody_says_nothing(tmp_path: Path):
    policy = Pop()
    policy.fit(WORLD)
    save_policy(policy, tmp_path / "plain")
    assert "learnt_from" not in json.loads((tmp_path / "plain" / ABOUT).read_text())
    assert isinstance(load_policy(tmp_path / "plain"), Pop)
    assert Saved(path=tmp_path / "plain").simulated_sources == ()


@pytest.mark.parametrize("wrong", [(), ("3",), (True,)])
def test_a_source_without_seeds_is_none(wrong):
    with pytest.raises(SimenvError, match="at least one whole number"):
        replace(Pupil(3).simulated_sources[0], seeds=wrong)
