"""A tiny world that everybody may visit, and scenarios set in it that run in a moment."""

import os
import tempfile

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["SIMENV_CACHE"] = tempfile.mkdtemp(prefix="simenv-cache-")  # tests leave the user's own alone

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from optional_packages import pytest_make_collect_report, pytest_runtest_makereport

from simenv.films import World, films_world
from simenv.rundir import RunDir
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario
from simenv.splits import Split, leave_one_out

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

TINY = {
    "name": "tiny",
    "dataset": {"name": "films", "users": 40, "items": 80},
    "population": "truth",
    "policies": ["random", "pop"],
    "page_size": 3,
    "max_pages": 4,
}


@pytest.fixture
def world() -> World:
    """Forty users and eighty films."""
    return films_world(users=40, items=80)


@pytest.fixture
def split(world: World) -> Split:
    """The same, with each user's last two rows held out."""
    return leave_one_out(world.dataset)


@pytest.fixture
def tiny() -> Callable[..., Scenario]:
    """Return a maker of scenarios in the tiny world; say what differs."""
    return lambda **changes: Scenario.model_validate(TINY | changes)


@pytest.fixture
def tiny_file(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of scenario files in the tiny world; say what differs."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(TINY | changes, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of three policies and two seeds, to read and not to change."""
    scenario = Scenario.model_validate(TINY | {"policies": ["random", "pop", "item-knn"], "seeds": [0, 1]})
    return run(scenario, tmp_path_factory.mktemp("finished") / "run")
