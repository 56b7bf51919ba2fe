"""simenv is distributed under a name of its own, and messages advise what works."""

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from simenv import distribution
from simenv.distribution import FORMER, NAME, install_hint, requirements
from simenv.errors import MissingExtra

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_it_is_distributed_under_its_own_name():
    assert PROJECT["name"] == NAME != FORMER


@pytest.mark.parametrize("extra", ["torch", "llm", "local"])
def test_a_missing_extra_is_installed_from_the_checkout(extra: str):
    assert extra in PROJECT["optional-dependencies"]
    told = str(MissingExtra("this", extra))
    assert told.endswith(install_hint(extra))
    assert f"pip install -e '.[{extra}]'" in told
    assert f"simenv[{extra}]" not in told


def test_no_message_advises_the_strangers_package():
    for room in ("simenv", "agents", "recommenders", "reports", "scenarios", "tests"):
        for file in (ROOT / room).rglob("*.py"):
            assert "pip install 'simenv[" not in file.read_text(encoding="utf-8") or file == Path(__file__), file


def test_a_strangers_package_of_the_former_name_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch):
    def requires(name: str) -> list[str]:
        if name == FORMER:
            return ["dataclasses-json", "pygltflib"]
        raise PackageNotFoundError(name)

    assert any(line.startswith("numpy") for line in requirements())
    monkeypatch.setattr(distribution, "requires", requires)
    assert requirements() == []
