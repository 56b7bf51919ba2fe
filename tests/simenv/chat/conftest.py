"""A server on loopback, and models that ask it."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from simenv.chat.compatible import Compatible
from simenv.chat.direct import Direct
from simenv.chat.endpoint import Endpoint
from simenv.chat.model import Message, Question

PROXIES = [name for scheme in ("http", "https", "all", "no") for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())]


@pytest.fixture(scope="session")
def script() -> ModuleType:
    """The module of the scripted server, with its faults."""
    spec = importlib.util.spec_from_file_location("scripted_server", Path(__file__).with_name("scripted_server.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that answers well until it is told otherwise; the environment names a key and nothing else."""
    for name in (*PROXIES, "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-quite-secret-7731")
    server = script.ScriptedServer()
    yield server
    server.stop()


@pytest.fixture(params=[Direct, Compatible], ids=["direct", "compatible"])
def made(request: pytest.FixtureRequest, server: Any) -> Callable[..., Endpoint[Any]]:
    """Return a maker of models that ask the server, on either path."""
    return lambda **options: request.param(options.pop("model", "scripted"), server.url, **{"timeout": 5.0} | options)


@pytest.fixture
def direct(server: Any) -> Callable[..., Direct]:
    """Return a maker of models that ask the server on the direct path."""
    return lambda **options: Direct(options.pop("model", "scripted"), server.url, **{"timeout": 5.0} | options)


@pytest.fixture
def question() -> Callable[..., Question]:
    """Return a maker of questions; say what differs."""

    def make(text: str = "How was it?", **changes: Any) -> Question:
        messages = (Message("system", "You watch films."), Message("user", text))
        return Question(**{"kind": "page", "messages": messages} | changes)

    return make
