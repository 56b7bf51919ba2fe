"""Runs with agents behind an endpoint on loopback: whatever the slots, the order or a crash, the log is the same."""

import gc
import json
import logging
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from simenv.agents.llm import LLMPopulation
from simenv.chat.faults import DeadEnd
from simenv.chat.model import Message, Question
from simenv.chat.scripted import Scripted
from simenv.errors import BudgetSpent, PopulationError, RunError, SimenvError
from simenv.rundir import ANSWERS, RunDir
from simenv.scenarios.fidelity_command import fidelity
from simenv.scenarios.interview import interview, personas_of
from simenv.scenarios.names import build
from simenv.scenarios.runner import answers_of, run
from simenv.scenarios.scenario import Scenario

KEY = "sk-quite-secret-7731"
Tiny = Callable[..., Scenario]


def by_rules(body: dict[str, Any]) -> str:
    """Answer a request as the stand-in would."""
    if "response_format" not in body:
        return "Blue."
    schema = body["response_format"]["json_schema"]["schema"]
    messages = tuple(Message(one["role"], one["content"]) for one in body["messages"])
    if "word" in schema["properties"]:
        return json.dumps({name: one["enum"][0] for name, one in schema["properties"].items()})
    return json.dumps(Scripted().answer(Question("page", messages, schema, draw=body.get("seed", 0))))


@pytest.fixture
def server(listening: Any) -> Any:
    """A server that answers by the stand-in's rules."""
    listening.answer = by_rules
    return listening


def rows(result: RunDir) -> tuple[pa.Table, pa.Table]:
    return result.events, result.pages


def test_answers_in_any_order_and_any_number_at_once_leave_the_same_log(
    agents: Tiny, server: Any, tmp_path: Path, plain: tuple[pa.Table, pa.Table]
):
    def late(body: dict[str, Any]) -> str:
        time.sleep(random.random() * 0.01)
        return by_rules(body)

    server.answer = late
    for slots in (1, 16, 256):
        server.most_in_flight = 0
        assert rows(run(agents(slots=slots), tmp_path / str(slots))) == plain
        assert server.most_in_flight <= slots


def test_a_run_is_replayed_without_a_call(
    agents: Tiny, server: Any, tmp_path: Path, plain: tuple[pa.Table, pa.Table], monkeypatch: pytest.MonkeyPatch
):
    asked = len(server.bodies)
    assert asked > 60
    monkeypatch.delenv("OPENAI_API_KEY")
    assert rows(run(agents(), tmp_path / "again", replay=tmp_path / "plain")) == plain
    assert len(server.bodies) == asked


@pytest.mark.usefixtures("plain")
def test_a_replay_of_another_run_says_what_is_missing(agents: Tiny, tmp_path: Path):
    with pytest.raises(PopulationError, match="no answer to this question of kind 'page': the run was recorded with"):
        run(agents(temperature=0.7), tmp_path / "other", replay=tmp_path / "plain")
    with pytest.raises(RunError, match="no answers of language models were recorded here"):
        run(agents(), tmp_path / "none", replay=tmp_path)


def test_a_run_that_was_stopped_goes_on_and_asks_nothing_twice(
    agents: Tiny, server: Any, tmp_path: Path, plain: tuple[pa.Table, pa.Table]
):
    whole = len(server.bodies)
    server.bodies.clear()
    with pytest.raises(BudgetSpent, match="tokens is spent"):
        run(agents(budget={"tokens": 80 * whole}), tmp_path / "stopped")  # a call takes 110
    assert json.loads((tmp_path / "stopped" / "manifest.json").read_text())["status"] == "stopped"
    asked = len(server.bodies)
    assert 0 < asked < whole
    with pytest.raises(RunError, match="cannot resume, the run there has population"):
        run(agents(temperature=0.5), tmp_path / "stopped", resume=True)
    assert rows(run(agents(budget={"tokens": 10_000_000}, slots=3), tmp_path / "stopped", resume=True)) == plain
    assert len(server.bodies) == whole


def test_a_run_in_which_too_little_can_be_read_fails(agents: Tiny, server: Any, tmp_path: Path):
    """Soon where much is asked, at its end where there is little."""
    server.answer = lambda body: by_rules(body).replace("letter", "lettre")
    with pytest.raises(PopulationError, match="5 of the first 5 questions got no answer that could be read"):
        run(agents(), tmp_path / "many")
    assert json.loads((tmp_path / "many" / "manifest.json").read_text())["status"] == "failed"

    few = agents().model_copy(update={"users": 2, "max_pages": 2, "policies": agents().policies[:1]})
    with pytest.raises(PopulationError, match="4 of 4 questions got no answer that could be read"):
        run(few, tmp_path / "few")
    told = json.loads((tmp_path / "few" / "manifest.json").read_text())
    assert (told["status"], told["readings"]) == ("failed", {"page": {"failed": 4}})


@pytest.mark.usefixtures("plain")
def test_no_key_and_no_address_is_left_behind(server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    files = [file for file in (tmp_path / "plain").rglob("*") if file.is_file()]
    assert any(file.name == ANSWERS for file in files)
    for file in files:
        content = file.read_bytes()
        assert KEY.encode() not in content, file.name
        assert str(server.port).encode() not in content or file.suffix in (".sqlite", ".parquet"), file.name
    assert KEY not in caplog.text


@pytest.mark.usefixtures("plain")
def test_what_was_asked_is_recorded_by_its_kind(tmp_path: Path):
    with sqlite3.connect(tmp_path / "plain" / ANSWERS) as record:
        names = [row[1] for row in record.execute("pragma table_info(answers)")]
        kinds = dict(record.execute("select kind, count(*) from answers group by kind").fetchall())
    assert "kind" in names
    assert {"page", "reflection"} <= set(kinds) <= {"page", "reflection", "interview"}


@pytest.mark.usefixtures("plain")
def test_every_question_is_counted_in_the_log_by_kind_and_by_how_it_was_read(tmp_path: Path):
    result = RunDir.open(tmp_path / "plain")
    with sqlite3.connect(tmp_path / "plain" / ANSWERS) as record:
        kinds = dict(record.execute("select kind, count(*) from answers group by kind").fetchall())
    assert {kind: sum(counts.values()) for kind, counts in result.readings.items()} == kinds
    assert set(result.readings["page"]) == {"plain"}
    assert result.manifest["readings"] == result.readings


@pytest.mark.usefixtures("plain")
def test_the_manifest_names_model_and_prompts(tmp_path: Path):
    told = json.loads((tmp_path / "plain" / "manifest.json").read_text())["population"]
    assert told["about"] == "asked of scripted"
    assert json.loads((tmp_path / "plain" / "manifest.json").read_text())["ways"] == ["schema"]
    assert told["model"]["model"] == "scripted"
    assert len(told["prompts"]) == 16


@pytest.fixture
def eloquent(tiny: Tiny, server: Any) -> Tiny:  # noqa: ARG001  (it is asked by its address in the environment)
    """Return a maker of scenarios in which a model writes whatever it can; say what differs of model and population."""

    def make(model: dict[str, Any] | None = None, **options: Any) -> Scenario:
        asked = {"kind": "endpoint", "model": "scripted", "ways": ["schema"], "timeout": 10.0} | (model or {})
        told = {"personas": "written", "item_texts": "written", "afterwards": ["users", "items"], "calls": 2} | options
        return tiny(population={"name": "llm", "model": asked} | told, users=15, max_pages=3, offline=None)

    return make


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_what_a_model_wrote_stands_in_the_run_whatever_the_order_and_after_a_crash(
    eloquent: Tiny, server: Any, tmp_path: Path
):
    result = run(eloquent(), tmp_path / "whole")
    files = {name: lines(tmp_path / "whole" / name) for name in ("personas.jsonl", "item_texts.jsonl")}
    asked = len(server.bodies)
    assert len(files["personas.jsonl"]) == 15
    assert {one["by"] for one in files["personas.jsonl"]} == {"the model"}
    assert {(row["policy"], row["seed"]) for row in files["item_texts.jsonl"]} == {("random", 0), ("pop", 0)}
    assert all(len(row["before"]) == 2 and row["liked"] <= row["met"] for row in files["item_texts.jsonl"])

    def late(body: dict[str, Any]) -> str:
        time.sleep(random.random() * 0.005)
        return by_rules(body)

    with pytest.raises(BudgetSpent):
        run(eloquent({"slots": 2, "budget": {"tokens": 50 * asked}}), tmp_path / "again")
    server.answer = late
    again = eloquent({"slots": 64, "budget": {"tokens": 10_000_000}})
    assert rows(run(again, tmp_path / "again", resume=True)) == rows(result)
    assert {name: lines(tmp_path / "again" / name) for name in files} == files
    replayed = run(eloquent(), tmp_path / "replay", replay=tmp_path / "whole")
    assert rows(replayed) == rows(result)


def test_items_think_over_the_same_in_a_run_that_was_stopped_between_sessions_and_thinking(
    eloquent: Tiny, server: Any, tmp_path: Path
):
    """Nobody is met again who could tell what he was told: neither who took an item nor what was said of it."""
    run(eloquent(), tmp_path / "run")
    texts, asked = lines(tmp_path / "run" / "item_texts.jsonl"), len(server.bodies)
    (tmp_path / "run" / "item_texts.jsonl").unlink()

    run(eloquent(), tmp_path / "run", resume=True)

    assert lines(tmp_path / "run" / "item_texts.jsonl") == texts
    assert len(server.bodies) == asked


def test_another_run_begins_with_what_items_said_of_themselves(eloquent: Tiny, server: Any, tmp_path: Path):
    run(eloquent(), tmp_path / "first")
    said = {row["text"] for row in lines(tmp_path / "first" / "item_texts.jsonl") if row["policy"] == "pop"}
    server.bodies.clear()
    with pytest.raises(SimenvError, match=r"say of which policy and seed: .* holds policy pop, seed 0; policy rand"):
        run(eloquent(item_texts=str(tmp_path / "first")), tmp_path / "unclear")

    run(eloquent(item_texts={"run": str(tmp_path / "first"), "policy": "pop"}), tmp_path / "second")

    asked = [json.loads(body)["messages"][-1]["content"] for body in server.bodies]
    pages = [text for text in asked if "# Page 1\n" in text]
    assert any(text in page for text in said for page in pages)


def test_memories_are_found_by_an_endpoints_vectors_and_the_run_replays(eloquent: Tiny, server: Any, tmp_path: Path):
    encoder = {"kind": "endpoint", "model": "scripted"}
    few = {"personas": "composed", "item_texts": "described", "afterwards": [], "calls": 1, "memory": {"recall": 1}}
    result = rows(run(eloquent(encoder=encoder, **few), tmp_path / "vectors"))
    assert sum("input" in json.loads(body) for body in server.bodies) > 30
    asked = len(server.bodies)
    assert rows(run(eloquent(encoder=encoder, **few), tmp_path / "same", replay=tmp_path / "vectors")) == result
    assert len(server.bodies) == asked
    told = json.loads((tmp_path / "vectors" / "manifest.json").read_text())["population"]["encoder"]
    assert told == {"kind": "embedding", "model": "scripted", "dimensions": None}


def test_who_fails_while_thinking_over_is_named(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise KeyError("item 7")

    monkeypatch.setattr(LLMPopulation, "think_over", fail)
    with pytest.raises(SimenvError, match="population 'llm' failed in think_over: KeyError: 'item 7'"):
        run(tiny(population="llm", users=2, max_pages=1), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "failed"


def test_a_run_in_which_too_much_failed_goes_on_where_more_may(tiny: Tiny, tmp_path: Path):
    whole = tiny(population={"name": "llm", "most_failed": 0.1}, users=3, max_pages=1)
    played = rows(run(whole, tmp_path / "run"))
    more = tiny(population={"name": "llm", "most_failed": 0.5}, users=3, max_pages=1)
    assert rows(run(more, tmp_path / "run", resume=True)) == played
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["population"]["most_failed"] == 0.5


def test_an_infinite_option_stands_in_the_manifest_and_the_run_can_be_resumed(tiny: Tiny, tmp_path: Path):
    never = tiny(population={"name": "llm", "memory": {"reflect_after": float("inf")}}, users=3, max_pages=1)
    played = rows(run(never, tmp_path / "run"))
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["population"]["options"]
    assert told == {"memory": {"reflect_after": "inf"}}
    assert rows(run(never, tmp_path / "run", resume=True)) == played


def test_texts_that_items_learnt_on_other_rows_are_not_taken(eloquent: Tiny, tmp_path: Path):
    """They may tell of what is held out here."""
    run(eloquent(), tmp_path / "first")
    other = eloquent(item_texts={"run": str(tmp_path / "first"), "policy": "pop"})
    split = other.split.model_copy(update={"by": "time", "test": 0.5})
    with pytest.raises(SimenvError, match="its texts of items were learnt on other data or another split"):
        run(other.model_copy(update={"split": split, "users": 2}), tmp_path / "second")


def test_a_run_that_goes_on_keeps_who_its_users_were_and_what_was_said_of_items(
    eloquent: Tiny, server: Any, tmp_path: Path
):
    options = {"afterwards": [], "calls": 1}
    whole = run(eloquent(**options), tmp_path / "whole")
    asked = len(server.bodies)
    with pytest.raises(BudgetSpent):
        run(eloquent({"budget": {"tokens": 60 * asked}}, **options), tmp_path / "again")
    server.answer = lambda body: by_rules(body).replace("rates", "judges")  # nobody is asked who he is again
    result = run(eloquent({"budget": {"tokens": 10_000_000}}, **options), tmp_path / "again", resume=True)
    for name in ("personas.jsonl", "item_texts.jsonl"):
        assert lines(tmp_path / "again" / name) == lines(tmp_path / "whole" / name)
    assert rows(result) == rows(whole)
    assert result.readings["persona"] == {"plain": 15}
    assert result.readings["item text"] == {"plain": len(lines(tmp_path / "whole" / "item_texts.jsonl"))}


@pytest.mark.parametrize("path", ["direct", "compatible"])
def test_a_dead_endpoint_is_told_before_anything_is_fitted_or_written(
    agents: Tiny, tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
):
    begin = time.monotonic()
    scenario = agents(base_url="http://127.0.0.1:9/v1", path=path)
    caplog.set_level(logging.ERROR, logger="asyncio")
    with pytest.raises(DeadEnd, match=r"127\.0\.0\.1:9/v1: the endpoint cannot be reached.*OPENAI_BASE_URL says where"):
        run(scenario, tmp_path / "run")
    assert time.monotonic() - begin < 10
    assert not (tmp_path / "run").exists()
    gc.collect()
    assert "Unclosed" not in caplog.text


@pytest.mark.parametrize("path", ["direct", "compatible"])
def test_a_missing_key_is_told_before_anything_is_fitted_or_written(
    agents: Tiny, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.wants_key = True
    with pytest.raises(DeadEnd, match="OPENAI_API_KEY is not set"):
        run(agents(path=path), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not server.bodies


def test_a_run_keeps_no_path_of_an_address_and_asks_for_it_where_it_is_wanted_again(
    agents: Tiny, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = server.url.replace("/v1", "/k-9931-secret/gate")
    folder = run(agents(base_url=whole), tmp_path / "run").folder
    for file in folder.rglob("*"):
        assert file.is_dir() or b"k-9931" not in file.read_bytes(), file
    user = str(RunDir(folder).events["user_id"][0])

    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(SimenvError, match="set OPENAI_BASE_URL to the whole address"):
        interview(folder, user, "Why?")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/k-9931-secret/gate")  # somebody else's
    with pytest.raises(SimenvError, match="set OPENAI_BASE_URL to the whole address"):
        interview(folder, user, "Why?")
    monkeypatch.setenv("OPENAI_BASE_URL", whole)
    assert interview(folder, user, "Why?") == "Blue."
    assert run(agents(base_url=whole), folder, resume=True).manifest["status"] == "complete"


@pytest.mark.parametrize("path", ["direct", "compatible"])
@pytest.mark.parametrize(("code", "told"), [(404, "has no chat completions"), (401, "OPENAI_API_KEY is not set")])
def test_an_address_without_chat_is_told_before_anything_is_fitted_or_written(
    agents: Tiny,
    server: Any,
    script: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    code: int,
    told: str,
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.always = script.status(code)
    begin = time.monotonic()
    with pytest.raises(DeadEnd, match=told):
        run(agents(path=path), tmp_path / "run")
    assert time.monotonic() - begin < 10
    assert not (tmp_path / "run").exists()
    assert (server.knocks, server.bodies) == (1, [])


@pytest.mark.parametrize("code", [400, 429, 500, 503])
def test_an_endpoint_that_refuses_to_be_asked_nothing_is_there_all_the_same(
    agents: Tiny, server: Any, script: Any, code: int, tmp_path: Path
):
    answers = answers_of(tmp_path / "run", None)
    build("population", "llm", agents().population.options, {"answers": answers})
    server.always = script.status(code)
    answers.check()
    assert server.knocks == 1


def test_a_run_whose_answers_are_all_on_record_goes_on_without_its_endpoint(
    agents: Tiny, server: Any, script: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    whole = run(agents(), tmp_path / "run")
    before = rows(whole)
    for part in [*(tmp_path / "run" / "events").iterdir(), *(tmp_path / "run" / "pages").iterdir()]:
        part.unlink()
    asked = len(server.bodies)
    server.always = script.status(404)
    again = run(agents(), tmp_path / "run", resume=True)
    assert "going on with the answers on record" in caplog.text
    assert rows(again) == before
    assert len(server.bodies) == asked


def test_a_dead_endpoint_is_told_by_whatever_would_ask_it(agents: Tiny, server: Any, script: Any, tmp_path: Path):
    scenario = agents()
    result = run(scenario, tmp_path / "run")
    file = tmp_path / "one.yaml"
    file.write_text(scenario.text(), encoding="utf-8")
    server.always = script.status(404)
    written = "population.personas=written"
    for act in (
        lambda: fidelity(str(file), ["fidelity.calls=50"], out=tmp_path / "found"),
        lambda: list(personas_of(str(file), [written])),
        lambda: interview(tmp_path / "run", str(result.events["user_id"][0]), "Why?"),
    ):
        with pytest.raises(DeadEnd, match="has no chat completions"):
            act()
    assert not (tmp_path / "found").exists()
    assert list(personas_of(str(file)))  # composed of rows: nobody is asked


def test_a_replay_where_nothing_asks_a_model_is_refused(tiny: Tiny, tmp_path: Path):
    asked = run(tiny(population="llm", users=5, fidelity=False), tmp_path / "asked")
    (asked.folder / ANSWERS).touch()
    for population in ("llm", "truth"):
        with pytest.raises(RunError, match="this scenario asks none"):
            run(tiny(population=population, fidelity=False), tmp_path / population, replay=asked.folder)
