"""The true users of a made world can tell what is good for them from what is not."""

import pytest

from simenv.rundir import RunDir
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario


@pytest.fixture(scope="module")
def bounds(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    scenario = Scenario.model_validate(
        {
            "name": "bounds",
            "dataset": {"name": "films", "users": 150, "items": 200},
            "population": "truth",
            "policies": ["random", "oracle", "anti-oracle"],
            "page_size": 5,
            "max_pages": 6,
            "offline": None,
        }
    )
    return run(scenario, tmp_path_factory.mktemp("bounds") / "run")


@pytest.mark.parametrize("metric", ["N_like", "P_like", "P_view", "S_sat", "N_exit"])
def test_the_oracle_does_better_than_chance_and_chance_than_the_worst(bounds: RunDir, metric: str):
    found = {policy: values[metric]["mean"] for policy, values in bounds.read_json("metrics.json").items()}
    assert found["oracle"] > found["random"] > found["anti-oracle"]


@pytest.mark.parametrize("metric", ["N_like", "S_sat"])
def test_the_bounds_are_told_apart_beyond_chance(bounds: RunDir, metric: str):
    rows = [row for row in bounds.read_json("comparisons.json") if row["metric"] == metric]
    assert len(rows) == 3
    assert all(row["p_holm"] < 0.01 for row in rows)
