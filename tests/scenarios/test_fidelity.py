"""No ranking without its fidelity verdict: the runner measures it, keeps it, and says why where it does not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simenv.errors import PopulationError, ScenarioError, SimenvError
from simenv.fidelity.battery import TESTS
from simenv.population import AnsweredBy, answered_by
from simenv.rundir import RunDir
from simenv.scenarios.cli import app
from simenv.scenarios.fidelity import fingerprint, why_not
from simenv.scenarios.fidelity_command import fidelity
from simenv.scenarios.fitted import cache_home
from simenv.scenarios.names import build
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario, read_scenario
from simenv.scenarios.stage import Stage, set_stage

Tiny = Callable[..., Scenario]
SCRIPTED = {"name": "llm", "model": "scripted"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIMENV_CACHE", str(tmp_path / "cache"))


def mark(scenario: Scenario) -> str:
    stage: Stage = set_stage(scenario)
    return fingerprint(stage, build("population", scenario.population.name, scenario.population.options, stage.gifts))


def test_a_run_measures_its_users_before_it_ranks(tmp_path: Path, tiny: Tiny):
    result = run(tiny(), tmp_path / "run")

    told, found = result.manifest["fidelity"], result.read_json("fidelity.json")
    assert list(told["tests"]) == list(TESTS)
    assert told["verdict"] == found["verdict"] != "not measured"
    assert "Are these users like real ones?" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_what_is_found_in_a_made_world_says_so_on_the_terminal(tiny_file: Callable[..., Path], tmp_path: Path):
    path = tiny_file(fidelity={"tests": ["taste"]})
    said = CliRunner().invoke(app, ["fidelity", str(path), "--out", str(tmp_path / "found")])

    told = " ".join(said.output.split())
    assert "users and rows of this data set are made, so no check here was against real users" in told
    assert json.loads((tmp_path / "found" / "fidelity.json").read_text(encoding="utf-8"))["is_synthetic"] is True


def test_what_was_found_is_taken_from_the_cache(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    first = run(tiny(), tmp_path / "one").read_json("fidelity.json")["tests"]

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("simenv.scenarios.fidelity._measure", never)
    assert run(tiny(policies=["pop"]), tmp_path / "two").read_json("fidelity.json")["tests"] == first


def test_a_damaged_cache_is_measured_again(tmp_path: Path, tiny: Tiny):
    run(tiny(policies=["pop"]), tmp_path / "one")
    (kept,) = cache_home("fidelity").glob("*.json")
    kept.write_text("{", encoding="utf-8")

    assert run(tiny(policies=["pop"]), tmp_path / "two").read_json("fidelity.json")["verdict"]


def test_the_fingerprint_follows_what_the_figures_follow_from(tiny: Tiny):
    same, others = mark(tiny()), [
        tiny(population={"name": "truth", "boredom": 2}),
        tiny(population="choice"),
        tiny(dataset={"name": "films", "users": 40, "items": 80, "seed": 1}),
        tiny(split={"by": "time", "test": 0.2}),
        tiny(users=30),
        tiny(page_size=4),
        tiny(fidelity={"limits": {"taste.auc": [0.9, 0.8]}}),
    ]  # fmt: skip

    assert mark(tiny(policies=["pop"], seeds=[3], name="other")) == same
    assert len({mark(other) for other in others} | {same}) == len(others) + 1


def test_it_can_be_left_out(tmp_path: Path, tiny: Tiny):
    result = run(tiny(fidelity=False, policies=["pop"]), tmp_path / "run")

    assert result.manifest["fidelity"]["verdict"] == "not measured"
    assert not (tmp_path / "run" / "fidelity.json").exists()


def test_limits_of_the_scenario_decide(tmp_path: Path, tiny: Tiny):
    strict = {"limits": {"taste.auc": [0.999, 0.99]}, "tests": ["taste"]}
    result = run(tiny(fidelity=strict, policies=["pop", "random"]), tmp_path / "run")

    assert result.manifest["fidelity"]["tests"] == {"taste": "fail"}
    assert "not to be acted on" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("fidelity: {limits: {tast: [1, 0]}}", "no limit 'tast'"),
        ("fidelity: {tests: [smell]}", "no test 'smell'"),
        ("fidelity: {user: 30}", "did you mean users"),
        ("fidelity: perhaps", "fidelity"),
    ],
)
def test_a_wrong_key_is_told(tiny_file: Callable[..., Path], written: str, told: str):
    path = tiny_file()
    path.write_text(f"{path.read_text(encoding='utf-8')}{written}\n", encoding="utf-8")

    with pytest.raises(ScenarioError, match=told):
        read_scenario(str(path))


def test_a_language_model_is_not_asked_unasked(tmp_path: Path, tiny: Tiny):
    result = run(tiny(population=SCRIPTED, policies=["pop"], users=12), tmp_path / "run")

    assert result.manifest["fidelity"]["verdict"] == "not measured"
    assert "calls: N" in result.manifest["fidelity"]["note"]
    before = result.read_json("fidelity.json")
    assert before["tests"] == []
    assert before["log"]["test"] == "review"
    again = run(tiny(population=SCRIPTED, policies=["pop"], users=12), tmp_path / "run", resume=True)
    assert again.read_json("fidelity.json") == before


def test_a_language_model_is_asked_for_so_many_answers_and_no_more(tmp_path: Path, tiny: Tiny):
    part = {"calls": 1500, "tests": ["taste", "dose"]}
    result = run(tiny(population=SCRIPTED, policies=["pop"], users=12, fidelity=part), tmp_path / "run")

    found = result.read_json("fidelity.json")
    assert 0 < found["asked"] <= 1500
    assert found["tests"][0]["verdict"] != "not measured"


def test_who_answers_from_the_held_out_rows_is_not_held_against_them(tmp_path: Path, tiny: Tiny):
    result = run(tiny(population="replay", policies=["pop"]), tmp_path / "run")

    assert "held-out rows themselves" in result.manifest["fidelity"]["note"]


def test_who_asks_a_model_says_so_and_no_name_among_the_facts_is_taken_for_it(tiny: Tiny):
    stage = set_stage(tiny())

    class Plain:
        def facts(self) -> dict[str, object]:
            return {"about": "a linear model", "model": {"kind": "linear"}}

    class Asking(Plain):
        answered_by = AnsweredBy(a_model=True)

    assert why_not(stage, Plain()) == ""  # type: ignore[arg-type]
    assert "ask a language model" in why_not(stage, Asking())  # type: ignore[arg-type]
    assert why_not(stage, build("population", "truth", {}, stage.gifts)) == ""


@pytest.mark.parametrize("wrapped", ["mixture", "half"])
def test_what_a_kind_of_users_comes_from_is_told_of_the_whole(tiny: Tiny, wrapped: str):
    stage = set_stage(tiny())

    def made(of: list[object]) -> AnsweredBy:
        return answered_by(build("population", wrapped, {"of": of}, stage.gifts))

    assert made(["choice"]) == AnsweredBy()
    assert made([SCRIPTED]) == AnsweredBy(a_model=True, scripted="all")
    assert made(["replay"]) == AnsweredBy(held_out=True)
    if wrapped == "mixture":
        assert made([SCRIPTED, "choice", "replay"]) == AnsweredBy(a_model=True, scripted="some", held_out=True)
        assert made([SCRIPTED, {"name": "mixture", "of": [SCRIPTED]}]) == AnsweredBy(a_model=True, scripted="all")


def test_a_stand_in_among_others_is_told_in_manifest_and_report(tmp_path: Path, tiny: Tiny):
    mixed = {"name": "mixture", "of": [SCRIPTED, "choice"]}
    found = run(tiny(population=mixed, policies=["pop"], users=12), tmp_path / "run")

    assert found.manifest["answered_by"]["scripted"] == "some"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Some of these users are played by a scripted stand-in, no language model." in page


def test_users_who_cannot_be_tried_do_not_stop_the_run(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise PopulationError("they would not be tried")

    monkeypatch.setattr("simenv.scenarios.fidelity._measure", fails)
    result = run(tiny(policies=["pop"]), tmp_path / "run")

    assert result.manifest["status"] == "complete"
    assert "would not be tried" in result.manifest["fidelity"]["note"]


def test_the_command_measures_a_scenario_and_a_run(tmp_path: Path, tiny: Tiny, tiny_file: Callable[..., Path]):
    found = fidelity(str(tiny_file(fidelity=False)), out=tmp_path / "found").found
    assert json.loads((tmp_path / "found" / "fidelity.json").read_text(encoding="utf-8")) == found

    folder = run(tiny(fidelity=False, policies=["pop"]), tmp_path / "run").folder
    fidelity(str(folder))
    assert RunDir.open(folder).manifest["fidelity"]["verdict"] == found["verdict"]
    assert "Are these users like real ones?" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_run_keeps_what_was_found_of_its_users_however_they_were_measured(tmp_path: Path, tiny: Tiny):
    folder = run(tiny(fidelity=False, policies=["pop"]), tmp_path / "run").folder
    held = fidelity(str(folder), ["fidelity.limits={taste.auc: [0.999, 0.99]}", "fidelity.tests=[taste]"])

    assert (held.found["verdict"], held.not_kept) == ("fail", "")
    assert RunDir.open(folder).manifest["fidelity"]["verdict"] == "fail"
    assert "These users do not behave like real ones" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_run_keeps_nothing_of_other_users_and_says_so(tmp_path: Path, tiny: Tiny):
    folder = run(tiny(fidelity=False, policies=["pop"]), tmp_path / "run").folder
    report = (folder / "report.html").read_bytes()
    held = fidelity(str(folder), ["population.name=choice", "fidelity.tests=[taste]"], out=tmp_path / "found")

    assert "keep no word of this" in held.not_kept
    assert "(population; population.name=choice" in held.not_kept
    assert (tmp_path / "found" / "fidelity.json").is_file()
    assert not (folder / "fidelity.json").exists()
    assert RunDir.open(folder).manifest["fidelity"]["verdict"] == "not measured"
    assert (folder / "report.html").read_bytes() == report


def test_the_command_says_whom_it_cannot_measure(tmp_path: Path, tiny_file: Callable[..., Path]):
    with pytest.raises(SimenvError, match="held-out rows themselves"):
        fidelity(str(tiny_file(population="replay")), out=tmp_path / "found")


def test_what_others_do_with_the_same_pages_stands_beside_it(tmp_path: Path, tiny: Tiny):
    part = {"tests": ["taste"], "beside": ["choice", {"name": "voters", "rule": "weights"}]}
    result = run(tiny(fidelity=part, policies=["pop"]), tmp_path / "run")

    found = result.read_json("fidelity.json")["agreement"]
    done, taken = found["tables"]
    assert [row[:2] for row in done["rows"]] == [
        ["truth", "choice"],
        ["truth", "voters"],
        ["choice", "voters"],
        *([name, "themselves, other luck"] for name in ("truth", "choice", "voters")),
    ]
    assert [row[0] for row in taken["rows"]] == ["truth", "choice", "voters"]
    assert found["verdict"] == "told"
    assert "Agreement is no truth" in found["note"]
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Would others do the same?" in report
    assert "What they do with the same pages" in report


def test_the_verdict_does_not_hang_on_what_others_do(tmp_path: Path, tiny_file: Callable[..., Path]):
    alone = fidelity(str(tiny_file(fidelity={"tests": ["taste"]})), out=tmp_path / "alone").found
    beside = fidelity(
        str(tiny_file(fidelity={"tests": ["taste"], "beside": ["choice"]})), out=tmp_path / "beside"
    ).found

    assert "agreement" not in alone
    assert (beside["verdict"], beside["note"]) == (alone["verdict"], alone["note"])


def test_who_asks_a_model_does_not_look_on_unasked(tmp_path: Path, tiny_file: Callable[..., Path]):
    part = {"tests": ["taste"], "beside": [SCRIPTED]}
    with pytest.raises(SimenvError, match=r"fidelity\.beside: the users of 'llm' ask a language model"):
        fidelity(str(tiny_file(fidelity=part)), out=tmp_path / "refused")

    found = fidelity(str(tiny_file(fidelity=part | {"calls": 2000}, users=12)), out=tmp_path / "allowed").found
    assert found["agreement"]["tables"][0]["rows"][0][:2] == ["truth", "llm"]


def test_a_name_that_nobody_bears_does_not_look_on(tmp_path: Path, tiny_file: Callable[..., Path]):
    with pytest.raises(ScenarioError, match=r"no population 'voter'; there are .*did you mean 'voters'"):
        fidelity(str(tiny_file(fidelity={"tests": ["taste"], "beside": ["voter"]})), out=tmp_path / "refused")
