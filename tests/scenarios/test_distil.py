"""`simenv distil`: a small model that answers pages as a run's users did, or as real users chose."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

pytest.importorskip("torch", reason="torch is not installed (the extra torch)")
pytest.importorskip("llguidance", reason="llguidance is not installed (the extra local)")

from simenv.agents.apprentice import Likeness, Taught
from simenv.intervals import Interval
from simenv.language.course import Past
from simenv.rundir import RunDir
from simenv.scenarios import cli
from simenv.scenarios.distil import table_of
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Tiny = Callable[..., Scenario]
TinyFile = Callable[..., Path]
Distil = Callable[..., tuple[int, str, str]]
SIZES = {"dimensions": 16, "layers": 1, "heads": 2, "vocabulary": 800, "learning_rate": 0.01, "batch_tokens": 1024}
SMALL = [word for name, value in SIZES.items() for word in ("--with", f"{name}={value}")]


@pytest.fixture
def distil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Distil:
    """Return the command, run in a folder of its own: its exit code, and what it printed and complained of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["simenv", "distil", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run whose users are to be imitated."""
    told = {"name": "films", "users": 40, "items": 80}
    scenario = {"name": "played", "dataset": told, "population": "truth", "policies": ["random"], "fidelity": False}
    return run(Scenario.model_validate(scenario | {"page_size": 3, "max_pages": 3}), tmp_path_factory.mktemp("p") / "r")


def test_a_run_s_users_are_imitated_by_agents_that_cost_nothing(distil: Distil, played: RunDir, tiny: Tiny):
    code, told, _ = distil(played.folder, "--out", "model", "--pages", 24, "--epochs", 3, *SMALL)

    assert code == 0
    assert "kappa of taking" in told
    assert "population: {name: llm, model: {kind: local, path: model}}" in told
    card = json.loads(Path("model/apprentice.json").read_text(encoding="utf-8"))
    source = card["source"]
    assert (source["kind"], source["scenario"], source["population"]) == ("run", "played", "truth")
    assert card["lessons"] + card["kept_for_judging"] == 24
    assert {name: card["schooling"][name] for name in SIZES} == SIZES
    assert card["likeness"]["pages"] > 0

    # It has hardly learnt the form of an answer.
    agents = {"name": "llm", "model": {"kind": "local", "path": "model"}, "most_failed": 1.0}
    result = run(tiny(population=agents, policies=["pop"], users=3, max_pages=1, fidelity=False), Path("run"))
    assert result.manifest["status"] == "complete"


def test_a_scenario_s_real_users_are_imitated(distil: Distil, tiny_file: TinyFile):
    code, told, _ = distil(tiny_file(), "--out", "model", "--pages", 24, "--epochs", 2, *SMALL, "--set", "page_size=4")

    assert code == 0
    assert "like its teacher" in told
    source = json.loads(Path("model/apprentice.json").read_text(encoding="utf-8"))["source"]
    assert (source["kind"], source["scenario"]) == ("choices", "tiny")


def test_figures_are_written_as_in_every_other_table():
    half = Interval(0.47, 0.40, 0.54, 30)
    negative = Interval(0.1, -0.05, 0.25, 30)
    found = Likeness(30, 0, half, negative, half, (0.25, 0.5), float("nan"), 0.5, (0.1, 0.002))
    console = Console(width=100, record=True, file=io.StringIO())
    taught = Taught(100, 30, Past(), 1.5, {})
    console.print(table_of(taught, found))
    told = console.export_text()

    assert re.search(r"the same done with an item +0\.47 +0\.40–0\.54", told)
    assert re.search(r"kappa of taking +0\.10 +−0\.05 to 0\.25", told)
    assert "nan" not in told


def test_a_folder_that_holds_a_taught_model_is_left_alone(distil: Distil, tiny_file: TinyFile):
    Path("model").mkdir()
    Path("model/apprentice.json").write_text("{}", encoding="utf-8")
    code, _, error = distil(tiny_file(), "--out", "model")

    assert code == 2
    assert "model: holds a model that has been taught; choose another folder, or delete it" in error
    assert Path("model/apprentice.json").read_text(encoding="utf-8") == "{}"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--with", "depth=2"], "--with depth: there are dimensions, layers, heads"),
        (["--with", "layers"], "--with layers"),
        (["--with", "layers=two"], "layers"),
        (["--set", "pagesize=3"], "did you mean page_size?"),
        (["--checkpoint", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_told(distil: Distil, tiny_file: TinyFile, words: list[str], complaint: str):
    code, _, error = distil(tiny_file(), "--out", "model", *words)

    assert code == 2
    assert complaint in error
    assert "Traceback" not in error
    assert not Path("model/apprentice.json").exists()


def test_a_source_that_is_not_there_is_told(distil: Distil):
    code, _, error = distil("nowhere.yaml", "--out", "model")

    assert code == 2
    assert "nowhere.yaml: no such scenario file" in error
