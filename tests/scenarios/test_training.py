"""A training goes through its stages, shows what each did, and goes on where it was broken off."""

import json
import shutil
from html import escape
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.errors import RunError, ScenarioError, SimenvError
from simenv.recommenders.generative.policy import Generative
from simenv.recommenders.generative.publish import publish
from simenv.reports.training import sentence
from simenv.rundir import RunDir
from simenv.scenarios import training as module
from simenv.scenarios.cli import app
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import SplitPart, scenario_of
from simenv.scenarios.shipped import shipped
from simenv.scenarios.stage import cut, open_world
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
        for part in ("teachers", "judges", "truth"):
            assert 0 <= stage[part]["grade"]["low"] <= stage[part]["grade"]["high"] <= 3
    assert [stage["source"] for stage in stages] == ["training rows", "self-play", "simulated", "simulated"]


def test_a_stage_learns_from_the_policy_before_shown_to_its_teachers(done):
    first, second = told(done)["stages"][2:]
    for folder, before, stage in (("02-told", "01-own", first), ("03-told-2", "02-told", second)):
        lessons = RunDir.open(done / folder / "lessons")
        assert 0 < stage["records"] <= len(lessons.pages)
        assert lessons.manifest["policies"][0]["options"]["path"].endswith(f"{before}/policy")


def test_those_who_grade_are_no_teachers(done):
    teachers, judges = (RunDir.open(done / "00-sft" / name).manifest for name in ("teachers", "judges"))
    assert teachers["population"] != judges["population"]
    with pytest.raises(ScenarioError, match="must not be who teaches"):
        read_training("rf-dpo", ["judges={name: choice}", "population={name: choice}"])


def seeds_by_run(out: Path) -> dict[str, set[int]]:
    return {
        str(run.parent.relative_to(out)): set(pc.unique(RunDir.open(run.parent).events["seed"]).to_pylist())
        for run in out.glob("*/*/manifest.json")
    }


def test_no_seed_both_teaches_and_grades_and_each_stage_draws_anew(done):
    runs = seeds_by_run(done)
    lessons = {name: seeds for name, seeds in runs.items() if name.endswith("lessons")}
    graded = {name: seeds for name, seeds in runs.items() if name not in lessons}
    assert set(lessons) == {"02-told/lessons", "03-told-2/lessons"}
    assert not set.intersection(*lessons.values())
    assert not set.union(*lessons.values()) & set.union(*graded.values())
    for who in ("teachers", "judges", "truth"):  # of all stages and of what stands beside: common random numbers
        assert len({tuple(seeds) for name, seeds in graded.items() if name.endswith(who)}) == 1
    assert not runs["00-sft/teachers"] & runs["00-sft/judges"]


def test_the_page_that_taught_is_graded_by_fresh_chance(done):
    """The first pages of one policy hold the same items for both; what is said of them is drawn anew."""
    taught, graded = (
        {
            (row["user_id"], row["item_id"]): row["grade"]
            for row in RunDir.open(done / folder).events.to_pylist()
            if row["page"] == 0
        }
        for folder in ("02-told/lessons", "01-own/teachers")
    )
    assert taught.keys() == graded.keys()
    alike = np.mean([taught[pair] == graded[pair] for pair in taught])
    assert 0.2 < alike < 0.9


def test_a_policy_says_which_seeds_taught_it_and_is_not_judged_by_them(done, tmp_path):
    seeds = [sorted(seeds_by_run(done)[f"{folder}/lessons"]) for folder in ("02-told", "03-told-2")]
    sources = [load_policy(done / folder / "policy").simulated_sources for folder in ("01-own", "02-told", "03-told-2")]
    assert [[list(source.seeds) for source in some] for some in sources] == [[], seeds[:1], seeds]

    policies = [{"name": "saved", "path": str(done / "03-told-2" / "policy")}]
    whole = {"dataset": {"name": "films", "users": 60, "items": 60}, "population": "truth", "policies": policies}
    scenario = {"name": "again", "users": 10, "max_pages": 1, "offline": None, "fidelity": False, **whole}
    with pytest.raises(SimenvError, match=f"'saved': it learnt .* seed {seeds[0][0]}.* other seeds"):
        run(scenario_of(scenario | {"seeds": seeds[0]}), tmp_path / "refused")
    assert run(scenario_of(scenario | {"seeds": [0]}), tmp_path / "played").manifest["status"] == "complete"


def test_a_published_policy_says_it_too(done, tmp_path):
    policy = load_policy(done / "03-told-2" / "policy")
    dataset = open_world(read_training("rf-dpo", ["dataset={name: films, users: 60, items: 60}"]).dataset)[0]
    train_rows = cut(dataset, SplitPart()).train
    publish(policy, tmp_path / "published", train_rows)
    heir = Generative(backbone={"path": str(tmp_path / "published")}, epochs=1, window=6, codes=8, levels=2)
    heir.fit(train_rows)
    assert heir.simulated_sources == policy.simulated_sources


def test_seeds_that_teach_and_seeds_that_judge_may_not_overlap(file):
    with pytest.raises(ScenarioError, match="judge_seeds 1: what teaches must not grade"):
        read_training(str(file), ["seeds=[0, 1]", "judge_seeds=[1, 2]"])
    drawn = read_training(str(file)).teaching_seeds("told")
    with pytest.raises(ScenarioError, match=f"judge_seeds {drawn[0]}: what teaches must not grade"):
        read_training(str(file), [f"judge_seeds={drawn}"])
    with pytest.raises(ScenarioError, match="a seed stands twice"):
        read_training(str(file), ["seeds=[1, 1]"])
    chosen = read_training(str(file), ["judge_seeds=[5, 6]"])
    assert chosen.grading_seeds("judges") == chosen.grading_seeds("teachers") == [5, 6]


def test_a_finished_training_is_judged_again_without_being_taught_again(done, file, tmp_path, monkeypatch):
    shutil.copytree(done, tmp_path / "out")
    others = read_training(str(file), ["judges={name: truth}"])
    with pytest.raises(RunError, match="its judges were others; add --judge-again"):
        train(others, tmp_path / "out", resume=True)
    monkeypatch.setattr(module._Training, "_next", None)
    monkeypatch.setattr(module._Training, "_first", None)
    before, after = told(done), train(others, tmp_path / "out", judge_again=True)
    assert RunDir.open(tmp_path / "out" / "03-told-2" / "judges").manifest["population"]["name"] == "truth"
    for one, other in zip(before["stages"], after["stages"], strict=True):
        assert one["teachers"] == other["teachers"]
        assert one["judges"]["grade"] != other["judges"]["grade"]


def test_the_policy_of_a_stage_can_be_shown_to_users(done):
    assert load_policy(done / "03-told-2" / "policy").item_count == 60


def test_the_report_says_what_became_of_it(done):
    page = (done / "report.html").read_text()
    assert escape(sentence(told(done)), quote=False) in page
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
    for stage in (tmp_path / "moved").glob("*/*/figures.npz"):
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
