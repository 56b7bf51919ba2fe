"""A pilot tells how many users the next run takes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simenv.errors import SimenvError
from simenv.rundir import RunDir
from simenv.scenarios.cli import app
from simenv.scenarios.plan import plan
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Tiny = Callable[..., Scenario]


@pytest.fixture
def pilot(tiny: Tiny, tmp_path: Path) -> RunDir:
    return run(tiny(seeds=[0, 1, 2], policies=["random", "pop", "oracle"]), tmp_path / "pilot")


def test_more_seeds_take_fewer_users_and_smaller_differences_more(pilot: RunDir):
    found = plan(pilot, "N_like", 0.5)
    assert {(row.policy, row.against) for row in found.rows} == {
        ("oracle", "pop"),
        ("oracle", "random"),
        ("pop", "random"),
    }
    for row in found.rows:
        counts = [count for count in row.users if count is not None]
        assert len(counts) == len(found.seeds)
        assert counts == sorted(counts, reverse=True)
    assert found.users == tuple(max(row.users[place] or 0 for row in found.rows) for place in range(len(found.seeds)))
    finer = plan(pilot, "N_like", 0.25)
    assert (finer.users[0] or 0) > 3 * (found.users[0] or 0)


def test_the_least_difference_that_a_run_can_see_stands_beside_each_comparison(pilot: RunDir):
    rows = [row for row in pilot.read_json("comparisons.json") if row["metric"] == "N_like"]
    seen = {frozenset((row.policy, row.against)): row.detectable for row in plan(pilot, "N_like", 1.0).rows}
    for row in rows:
        told = row["detectable"]
        assert told == pytest.approx(seen[frozenset((row["policy"], row["against"]))], rel=0.35)
        assert row["p"] <= row["p_bh"] <= row["p_holm"]


def test_one_seed_says_what_it_cannot_tell(tiny: Tiny, tmp_path: Path):
    folder = run(tiny(), tmp_path / "once").folder
    shown = CliRunner().invoke(app, ["plan", str(folder), "--difference", "0.5"])
    assert shown.exit_code == 0
    assert "-: a pilot with two seeds or more tells how much seeds would save" in " ".join(shown.stdout.split())


def test_what_cannot_be_planned_is_told(tiny: Tiny, pilot: RunDir, tmp_path: Path):
    with pytest.raises(SimenvError, match="--metric foo: there are P_view"):
        plan(pilot, "foo", 1.0)
    alone = run(tiny(policies=["pop"]), tmp_path / "alone")
    with pytest.raises(SimenvError, match="one policy alone; a difference takes two"):
        plan(alone, "N_like", 1.0)
