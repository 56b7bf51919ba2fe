"""Agents behind a server on loopback, and the run that nothing befell; a file says how its own server answers."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

SERVER = Path(__file__).parents[1] / "simenv" / "chat" / "scripted_server.py"
Tiny = Callable[..., Scenario]


@pytest.fixture
def script() -> ModuleType:
    """The module of the scripted server."""
    spec = importlib.util.spec_from_file_location("scripted_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def listening(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that the environment names, with a key."""
    server = script.ScriptedServer()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-quite-secret-7731")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    yield server
    server.stop()


@pytest.fixture
def ways() -> list[str]:
    """How the agents' model is asked for the form of its answers."""
    return ["schema"]


@pytest.fixture
def number() -> int:
    """How many agents take part."""
    return 15


@pytest.fixture
def agents(tiny: Tiny, server: Any, ways: list[str], number: int) -> Tiny:  # noqa: ARG001  (it is asked by its address)
    """Return a maker of scenarios with as many agents; say what differs of the model."""

    def make(**model: Any) -> Scenario:
        told = {"kind": "endpoint", "model": "scripted", "ways": ways, "timeout": 10.0, **model}
        return tiny(population={"name": "llm", "model": told}, users=number, max_pages=3, offline=None)

    return make


@pytest.fixture
def plain(agents: Tiny, tmp_path: Path) -> tuple[pa.Table, pa.Table]:
    """The log of a run that nothing befell."""
    result = run(agents(), tmp_path / "plain")
    return result.events, result.pages
