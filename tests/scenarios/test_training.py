"""A training goes through its stages, shows what each did, and goes on where it was broken off."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.errors import RunError, ScenarioError, SimenvError
from simenv.reports.training import sentence
from simenv.rundir import RunDir
from simenv.scenarios import training as module
from simenv.scenarios.cli import app
from simenv.scenarios.scenario import shipped
from simenv.scenarios.training import SHIPPED, Training, read_training, train
from simenv.store import load_policy

FILE = """
name: tiny
dataset: {name: films, users: 60, items: 60}
policy: {name: generative, codes: 8, levels: 2, dimensions: 16, heads: 2, layers: 1, epochs: 2, window: 6, beams: 6}
users: 30
max_pages: 3
fidelity: false
stages:
  - {name: own, source: self-play, records: 40, beams: 6, learning_rate: 0.001}
  - {name: told, source: simulated, learning_rate: 0.001, epochs: 2}
rounds: 2
most_lost: 1.0
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("training") / "tiny.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def done(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMENV_CACHE", str(tmp_path_factory.mktemp("cache")))
        train(read_training(str(file)), out)
    return out


def told(out: Path) -> dict[str, object]:
    return json.loads((out / "training.json").read_text())


def test_every_stage_is_measured_on_held_out_rows_and_by_both_kinds_of_users(done):
    stages = told(done)["stages"]
    assert [stage["name"] for stage in stages] == ["sft", "own", "told", "told-2"]
    for stage in stages:
        assert 0 <= stage["held_out"]["recall@10"]["mean"] <= 1
        for part in ("taught", "judged"):
            assert 0 <= stage[part]["grade"]["low"] <= stage[part]["grade"]["high"] <= 3
    assert [stage["source"] for stage in stages] == ["training rows", "self-play", "simulated", "simulated"]


def test_a_stage_learns_from_the_users_of_the_stage_before(done):
    own, first, second = told(done)["stages"][1:]
    assert own["prompts"] <= 40
    for before, stage in (("01-own", first), ("02-told", second)):
        pages = RunDir.open(done / before / "taught").pages
        assert 0 < stage["records"] <= len(pages)


def test_those_who_grade_are_no_teachers(done):
    taught, judged = (RunDir.open(done / "00-sft" / name).manifest for name in ("taught", "judged"))
    assert taught["population"] != judged["population"]
    with pytest.raises(ScenarioError, match="must not be who teaches"):
        read_training("rf-dpo", ["judges={name: choice}", "population={name: choice}"])


def test_the_policy_of_a_stage_can_be_shown_to_users(done):
    assert load_policy(done / "03-told-2" / "policy").item_count == 60


def test_the_report_says_what_became_of_it(done):
    page = (done / "report.html").read_text()
    assert sentence(told(done)["stages"]) in page
    assert "self-play, listwise" in page
    assert str(Path.home()) not in page


def test_what_was_finished_is_not_done_again(done, file, monkeypatch):
    before = told(done)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("taught again")

    monkeypatch.setattr(module._Training, "_next", never)
    monkeypatch.setattr(module._Training, "_first", never)
    assert train(read_training(str(file)), done, resume=True) == before


def test_broken_off_in_a_stage_it_goes_on_to_the_same(done, file, tmp_path, monkeypatch):
    monkeypatch.setenv("SIMENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("simenv.language.course.SAVE_EVERY", 0.0)

    class Killed(Exception):
        """A crash."""

    def crash(step: object) -> None:
        if step.stage == "02-told" and step.done == 1:
            raise Killed

    with pytest.raises(Killed):
        train(read_training(str(file)), tmp_path / "out", watch=crash)
    train(read_training(str(file)), tmp_path / "out", resume=True)
    one, other = (load_policy(folder / "03-told-2" / "policy").state() for folder in (done, tmp_path / "out"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_training_that_was_moved_goes_on_with_the_runs_it_has(done, file, tmp_path, monkeypatch):
    shutil.copytree(done, tmp_path / "moved")
    for stage in (tmp_path / "moved").glob("*/figures.npz"):
        stage.unlink()  # broken off before its runs were read
    monkeypatch.chdir(tmp_path)
    assert train(read_training(str(file)), Path("moved"), resume=True) == told(done)


def test_a_training_is_not_written_over(done, file):
    with pytest.raises(RunError, match="--resume"):
        train(read_training(str(file)), done)
    with pytest.raises(RunError, match="another training"):
        train(read_training(str(file), ["users=20"]), done, resume=True)


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        ("stages=[]", "at least 1"),
        ("stages=[{name: sft, source: logged}]", "a name of its own"),
        ("stages=[{name: a, source: logged, level: hard}]", "self-play has levels"),
        ("stages=[{name: a, source: self-play, against: passed}]", "nobody gives one"),
        ("stages=[{name: a, source: logged, against: passed}]", "only what is simulated tells"),
        ("stages=[{name: a, source: dreams}]", "source"),
        ("stages=[{name: a, source: logged, objective: group, against: disliked}]", "goes with the objective listwise"),
        ("stages=[{name: a, source: self-play, objective: cross-entropy, level: hard}]", "objective listwise"),
        ("stages=[{name: a, source: simulated}, {name: a-2, source: logged}]", "'a-2'; give each a name of its own"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(file, setting, wrong):
    with pytest.raises(ScenarioError, match=wrong):
        read_training(str(file), [setting])


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        ("policy={name: generative, codes: 0}", "codes is 0"),
        ("users=61", "users: 61 wanted"),
        ("judges={name: voters, trust: all}", "voters.*trust"),
        ("stages=[{name: own, source: logged, options: {bta: 1}}]", "'own', options: .* no option 'bta'; it takes"),
    ],
)
def test_a_mistake_is_told_before_anything_is_taught_or_written(file, tmp_path, setting, wrong, monkeypatch):
    monkeypatch.setattr(module._Training, "_first", None)
    with pytest.raises(SimenvError, match=wrong):
        train(read_training(str(file), [setting]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_too_short_to_begin_alike_in_part_are_told_before_anything_is_taught(file, tmp_path, monkeypatch):
    monkeypatch.setattr(module._Training, "_first", None)
    short = ["policy={name: generative, codes: 8}", "stages=[{name: own, source: self-play, level: medium}]"]
    with pytest.raises(SimenvError, match=r"'own', level medium: .* levels: 2 or more"):
        train(read_training(str(file), short), tmp_path / "out")


def test_a_stage_that_finds_nothing_to_learn_is_named(file, tmp_path, monkeypatch):
    monkeypatch.setenv("SIMENV_CACHE", str(tmp_path / "cache"))
    mute = ["population={name: replay}", "judges={name: choice}", "stages=[{name: told, source: simulated}]"]
    with pytest.raises(SimenvError, match="stage 'told': no preferences to learn from"):
        train(read_training(str(file), [*mute, "users=5", "max_pages=1"]), tmp_path / "out")


def test_a_policy_that_writes_nothing_cannot_be_taught(file, tmp_path):
    with pytest.raises(SimenvError, match="'generative' can"):
        train(read_training(str(file), ["policy={name: pop}"]), tmp_path / "out")


@pytest.mark.parametrize("name", sorted(shipped(SHIPPED)))
def test_the_shipped_trainings_are_trainings(name):
    assert isinstance(read_training(name), Training)


def test_users_and_items_named_together_and_several_tasks_are_taught_by_preferences(tmp_path, monkeypatch):
    """Align3GR, as small as can be."""
    monkeypatch.setenv("SIMENV_CACHE", str(tmp_path / "cache"))
    small = ["dataset.users=60", "dataset.items=60", "users=20", "max_pages=2", "fidelity=false", "most_lost=1.0"]
    small += ["policy.codes=8", "policy.dimensions=16", "policy.epochs=1", "policy.window=6"]
    small += [f"stages.{place}.records=30" for place in range(5)]
    stages = train(read_training("align3gr", small), tmp_path / "out")["stages"]
    assert [stage["name"] for stage in stages] == ["sft", "easy", "medium", "hard", "disliked", "passed"]


def test_a_name_that_is_none_ends_with_what_there_is():
    found = CliRunner().invoke(app, ["train", "rf-dop"])
    assert found.exit_code != 0


def gained(found: float, taught: float, judged: float) -> list[dict[str, object]]:
    def stage(*values: float) -> dict[str, object]:
        ends = [{"mean": 1.0, "low": 1.0, "high": 1.0, "gained": {"low": one, "high": one}} for one in values]
        return {"held_out": {"recall@10": ends[0]}, "taught": {"grade": ends[1]}, "judged": {"grade": ends[2]}}

    return [stage(0, 0, 0), stage(found, taught, judged)]


def test_a_policy_that_pleases_its_teachers_alone_is_called_so():
    assert "may have learnt to please them" in sentence(gained(-1, 1, -1))
    assert "its judges too" in sentence(gained(0, 1, 1))
    assert "fewer of the held-out" in sentence(gained(-1, 1, 1))
    assert "lower than before" in sentence(gained(0, -1, 0))
