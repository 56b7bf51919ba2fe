"""`package.module:Name` is code: it runs where a scenario's author names it, never because a folder was opened."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml

from simenv import plugins
from simenv.errors import ScenarioError, SimenvError, StoreError
from simenv.plugins import importing, load_plugin
from simenv.policy import Policy
from simenv.recommenders.from_implicit import FromImplicit
from simenv.recommenders.pop import Pop
from simenv.rundir import RunDir
from simenv.scenarios.fidelity_command import fidelity
from simenv.scenarios.interview import interview, personas_of
from simenv.scenarios.names import build
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario, code_of
from simenv.store import load_policy, save_policy

Tiny = Callable[..., Scenario]
TinyFile = Callable[..., Path]
STRANGER = """
from pathlib import Path
from simenv.agents.choice import ChoicePopulation
from simenv.recommenders.pop import Pop

Path({mark!r}).touch()


class People(ChoicePopulation):
    pass


class Policy(Pop):
    pass
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once a stranger's code ran."""
    return tmp_path / "ran"


@pytest.fixture
def strangers(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a stranger's module, which can be imported."""
    monkeypatch.syspath_prepend(tmp_path / "theirs")
    monkeypatch.delitem(sys.modules, "strangers_module", raising=False)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "strangers_module.py").write_text(STRANGER.format(mark=str(mark)))
    return "strangers_module"


def declared() -> Pop:
    """Return a policy, and say so."""
    return Pop()


def undeclared():
    """Return a policy, and do not say so."""
    return Pop()


def by_contract(depth: int = 1) -> "Policy":  # noqa: ARG001
    """Return some policy."""
    return Pop()


@pytest.mark.parametrize("kind", ["policy", "population"])
@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "subprocess:run", "builtins:exec", "shutil:rmtree"])
def test_what_is_no_policy_or_population_is_refused_before_it_is_called(kind: str, name: str, mark: Path):
    with pytest.raises(ScenarioError, match=f"and no {kind}; name a class with the methods"):
        build(kind, name, {"command": f"touch {mark}", "args": ["touch", str(mark)]}, {})
    assert not mark.exists()


def test_a_scenario_that_names_a_shell_runs_none(tiny: Tiny, tmp_path: Path, mark: Path):
    with pytest.raises(ScenarioError, match="policy 'os:system'"):
        run(tiny(policies=[{"name": "os:system", "command": f"touch {mark}", "label": "a"}]), tmp_path / "run")
    assert not mark.exists()


def test_a_function_is_a_factory_if_it_says_what_it_returns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])
    assert isinstance(build("policy", "mine:declared", {}, {}), Pop)
    assert isinstance(build("policy", "mine:by_contract", {"depth": 2}, {}), Pop)
    with pytest.raises(ScenarioError, match="a function, and no policy"):
        build("policy", "mine:undeclared", {}, {})
    with pytest.raises(ScenarioError, match="a function, and no population"):
        build("population", "mine:declared", {}, {})


@pytest.fixture
def received(tiny: Tiny, tmp_path: Path) -> Path:
    """A run's folder as it comes from somebody else."""
    users = {"name": "llm", "model": "scripted"}
    run(tiny(population=users, policies=["pop"], users=4, max_pages=2, offline=None, fidelity=False), tmp_path / "run")
    return tmp_path / "run"


def tampered(folder: Path, **values: Any) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))
    return folder


@pytest.mark.parametrize("command", ["personas", "ask", "fidelity"])
@pytest.mark.parametrize("where", ["population", "a part of it", "beside"])
def test_no_command_that_opens_a_run_imports_what_it_names(
    received: Path, strangers: str, mark: Path, command: str, where: str
):
    if where == "beside" and command != "fidelity":
        pytest.skip("only fidelity makes those")
    name = f"{strangers}:People"
    users = {"name": "mixture", "of": [{"name": "choice"}, {"name": name}]} if where == "a part of it" else name
    values = {"fidelity": {"beside": [name]}} if where == "beside" else {"population": users}
    if where == "beside":
        values["population"] = "choice"
    tampered(received, **values)

    opened: dict[str, Callable[[], object]] = {
        "personas": lambda: list(personas_of(str(received))),
        "ask": lambda: interview(received, "0", "who are you?"),
        "fidelity": lambda: fidelity(str(received)),
    }
    with pytest.raises(SimenvError, match=r"is code.*--allow-code"):
        opened[command]()
    assert not mark.exists()


def test_with_allow_code_it_is_imported(received: Path, strangers: str, mark: Path):
    tampered(received, population=f"{strangers}:People")
    with pytest.raises(SimenvError, match="only 'llm' has agents"):
        list(personas_of(str(received), allow_code=True))
    assert mark.exists()


def test_a_plug_in_that_is_installed_needs_no_leave(strangers: str, mark: Path, monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("theirs", f"{strangers}:Policy", "simenv.policies")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == point.group else [])
    with importing(allowed=False):
        build("policy", f"{strangers}:Policy", {}, {})
        build("policy", "simenv.recommenders.pop:Pop", {}, {})
    assert mark.exists()


def test_neither_a_kept_policy_nor_another_librarys_model_is_a_way_round(strangers: str, mark: Path, tmp_path: Path):
    kept = Pop()
    kept.fit(some_rows())
    save_policy(kept, tmp_path / "kept")
    about = tmp_path / "kept" / "policy.json"
    about.write_text(about.read_text().replace("simenv.recommenders.pop:Pop", f"{strangers}:Policy"))
    with importing(allowed=False):
        with pytest.raises(StoreError, match="is code"):
            load_policy(tmp_path / "kept")
        with pytest.raises(SimenvError, match="is code"):
            FromImplicit(model=f"{strangers}:Policy")
    assert not mark.exists()
    with pytest.raises(SimenvError, match="no model of implicit"):
        FromImplicit(model="os:system", options={"command": f"touch {mark}"})
    assert not mark.exists()


def some_rows() -> Any:
    from simenv.films import films_world

    return films_world(users=20, items=30).dataset


def test_the_scenario_inside_a_run_is_a_runs(received: Path, strangers: str, mark: Path):
    tampered(received, policies=[f"{strangers}:Policy"])
    with code_of(received / "scenario.yaml"), pytest.raises(ScenarioError, match="is code"):
        build("policy", f"{strangers}:Policy", {}, {})
    assert not mark.exists()


def command_line(*words: object, cwd: Path, module: bool) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, by its script or as a module."""
    script = Path(sys.executable).with_name("simenv")
    begin = [sys.executable, "-m", "simenv"] if module else [script]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [*begin, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("module", [False, True])
def test_what_lies_in_the_working_directory_is_not_imported(tmp_path: Path, tiny_file: TinyFile, module: bool):
    here = tmp_path / "downloads"
    here.mkdir()
    for name in ("yaml", "torch", "numba", "implicit", "mesa", "typer", "rich", "random", "json", "types", "simenv_x"):
        (here / f"{name}.py").write_text(f"from pathlib import Path\nPath({str(here / 'ran')!r}).touch()\n1 / 0\n")

    answer = command_line("run", tiny_file(users=5, fidelity=False), cwd=here, module=module)

    assert answer.returncode == 0, answer.stderr
    assert not (here / "ran").exists()


def test_a_module_beside_the_scenario_is_found_wherever_the_command_is_typed(tmp_path: Path, tiny_file: TinyFile):
    file = tiny_file(users=5, fidelity=False, policies=["pop", "beside_it:Policy"])
    (file.parent / "beside_it.py").write_text("from helper_of_it import Policy\n")
    (file.parent / "helper_of_it.py").write_text("from simenv.recommenders.pop import Pop\nclass Policy(Pop): pass\n")
    (file.parent / "yaml.py").write_text("1 / 0\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    answer = command_line("run", file, "--out", "found", cwd=elsewhere, module=False)

    assert answer.returncode == 0, answer.stderr
    assert [one["label"] for one in RunDir(elsewhere / "found").manifest["policies"]] == ["pop", "Policy"]

    (elsewhere / "only_here.py").write_text("from simenv.recommenders.pop import Pop as Policy\n")
    file.write_text(file.read_text().replace("beside_it", "only_here"))
    lost = command_line("run", file, "--out", "lost", cwd=elsewhere, module=False)
    assert lost.returncode == 2
    assert f"neither installed nor in {file.parent.resolve()}" in lost.stderr


def test_a_training_that_stands_is_not_trusted(tmp_path: Path, strangers: str, mark: Path):
    """A policy in the folder of a training names its class; with --resume that may be anybody's."""
    folder = tmp_path / "training"
    folder.mkdir()
    (folder / "scenario.yaml").touch()
    with code_of(folder), pytest.raises(ScenarioError, match="is code"):
        load_plugin(f"{strangers}:Policy", "policy")
    assert not mark.exists()
    with code_of(folder, allow_code=True):
        load_plugin(f"{strangers}:Policy", "policy")
    shutil.rmtree(folder)
