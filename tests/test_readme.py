"""What the README shows works as it stands there."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from simenv.checks import PolicyChecks
from simenv.readers import open_dataset
from simenv.scenarios import cli
from simenv.scenarios.names import known_names
from simenv.scenarios.scenario import Scenario
from simenv.scenarios.shipped import shipped

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def namespace(block: str) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(block, names)
    return names


class TestTheReadmesPolicy(PolicyChecks):
    make = staticmethod(lambda: namespace(blocks("python")[0])["Newest"]())


def test_the_readmes_environment_steps():
    names = namespace(blocks("python")[2])
    assert set(names["info"]) >= {"grades", "ratings", "satisfaction", "exit_cause", "repeated"}
    assert names["users"].num_envs == 1024


def test_the_readmes_scenario_is_one():
    scenario = Scenario.model_validate(yaml.safe_load(blocks("yaml")[0]))
    assert [policy.label for policy in scenario.policies] == ["pop", "ease", "newest"]


@pytest.mark.parametrize("names", [shipped(), known_names("population")])
def test_the_readme_explains_every_shipped_scenario_and_population(names: dict[str, object]):
    assert [name for name in names if f"| `{name}` |" not in README] == []


def test_the_readmes_policy_shows_the_newest_first():
    checks = TestTheReadmesPolicy()
    years = checks.world().dataset.catalog.years
    for context in checks.contexts():
        page = checks.policy().recommend(context, 5)
        assert (np.diff(years[page], axis=1) <= 0).all()


def test_the_readmes_table_is_imported_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIMENV_DATA", str(tmp_path / "data"))
    (tmp_path / "watched.csv").write_text(blocks("csv")[0], encoding="utf-8")
    command = re.search(r"^simenv data import watched\.csv .*$", README, flags=re.M)
    assert command is not None
    monkeypatch.setattr(sys, "argv", shlex.split(command[0]))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert "rows left out: 1 (stars is not a number)" in capsys.readouterr().out
    log = open_dataset("watched").interactions
    assert len(log) == 4
    assert sorted(log.ratings[~np.isnan(log.ratings)].tolist()) == [2.0, 4.5, 5.0]
    assert log.times.min() == 1_554_063_300  # 2019-03-31 20:15
