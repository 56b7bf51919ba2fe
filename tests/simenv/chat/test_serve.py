"""A real server with a model that knows nothing: what it says is never an answer, and all of that is counted."""

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simenv.agents.answers import PageAnswer, Verdict
from simenv.chat.asking import Outcome, ask
from simenv.chat.model import Message, Question
from simenv.chat.opening import open_model
from simenv.chat.ways import Way
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

pytestmark = pytest.mark.slow
for library in ("torch", "transformers", "fastapi", "uvicorn"):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"no {library} here: pip install -e '.[serve]'", allow_module_level=True)

STARTING = 180.0  # seconds, on a busy machine
NAME = "babbler"


@pytest.fixture(scope="session")
def address(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`, started once and killed with all that it started."""
    folder = tmp_path_factory.mktemp("serve")
    babbler(checkpoints / "qwen", folder / NAME)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("transformers"), "serve", NAME, "--device", "cpu", "--default-seed", "1"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--no-continuous-batching"],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, folder / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def babbler(model: Path, folder: Path) -> None:
    """Make of a model one that draws its words and comes to an end soon."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    told = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(told | {"do_sample": True}))
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][told["eos_token_id"], 0] = 0.5  # as much as what it likes to say
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the server is well."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + STARTING
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), direct.open(url, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.2)
    pytest.fail(f"transformers serve did not start: {log.read_text(encoding='utf-8', errors='replace')[-3000:]}")


@pytest.fixture(params=["direct", "compatible"])
def told(request: pytest.FixtureRequest, address: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a scenario says of the server's model, on either path; the environment names neither key nor proxy."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
            monkeypatch.delenv(name)
    options = {"kind": "endpoint", "model": NAME, "base_url": address, "path": request.param}
    return options | {"attempts": 2, "temperature": 1.0, "seed": True, "timeout": 60}


def question(number: int, **changes: Any) -> Question:
    asked = (Message("system", "You watch films."), Message("user", f"Film {number}?"))
    return Question(**{"kind": "page", "messages": asked, "draw": number, "most_tokens": 48} | changes)


def test_babble_is_asked_for_again_and_then_given_up(told: dict[str, Any]):
    model: Any = open_model(told)

    async def outcomes() -> list[Outcome[Any]]:
        forms = [PageAnswer, Verdict] * 4
        found = await asyncio.gather(*(ask(model, question(n), form) for n, form in enumerate(forms)))
        await model.close()
        return found

    found = asyncio.run(outcomes())
    endpoint = model.model.model
    assert endpoint.way is Way.JSON
    for outcome in found:
        assert (outcome.value, outcome.how, outcome.calls) == (None, "failed", 2)
        assert outcome.tokens_in > 0
        assert outcome.tokens_out <= 2 * 48
        assert outcome.complaint
    assert len({outcome.text for outcome in found}) > 4
    probes_in = model.budget.tokens_in - sum(outcome.tokens_in for outcome in found)
    probes_out = model.budget.tokens_out - sum(outcome.tokens_out for outcome in found)
    assert 0 < probes_in < 500  # whether a form is obeyed was asked too, and counts
    assert 0 < probes_out < 2 * 1024


def test_words_of_its_own_come_as_they_are_and_end_at_their_limit(told: dict[str, Any]):
    model = open_model(told)

    async def said() -> list[Any]:
        found = await asyncio.gather(*(model.ask(question(n, most_tokens=6)) for n in range(6)))
        await model.close()
        return found

    found = asyncio.run(said())
    assert all(0 < answer.tokens_out <= 6 for answer in found)
    assert {answer.tokens_out for answer in found if answer.cut} == {6}


def test_a_run_ends_with_every_reading_counted_and_replays(
    told: dict[str, Any], tiny: Callable[..., Scenario], tmp_path: Path
):
    population = {"name": "llm", "model": told, "most_failed": 1}
    scenario = tiny(population=population, policies=["pop"], users=3, max_pages=2)
    first = run(scenario, tmp_path / "first")
    again = run(scenario, tmp_path / "again", replay=tmp_path / "first")

    assert first.manifest["status"] == "complete"
    assert first.manifest["readings"]["page"] == {"failed": len(first.pages)}
    assert len(first.pages) == 6
    assert again.pages.equals(first.pages)
    assert again.events.equals(first.events)
