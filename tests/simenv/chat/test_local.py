"""A model in a folder: tiny ones, made on the spot, whose every answer has its form whatever they babble."""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from simenv.agents.answers import PageAnswer
from simenv.chat.asking import ask, schema_of
from simenv.chat.budget import Budgeted
from simenv.chat.faults import DeadEnd, Refused
from simenv.chat.local import Local
from simenv.chat.model import Answer, Message, Question
from simenv.chat.opening import Answers, open_model
from simenv.chat.record import Recorded
from simenv.errors import BudgetSpent, MissingExtra, SimenvError
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

SCHEMA = schema_of(PageAnswer)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """So small a model is ten times slower with two on cores that others use too."""
    torch, *_ = map(pytest.importorskip, ("torch", "transformers", "llguidance"))
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


def questions(count: int, **changes: Any) -> list[Question]:
    """Return questions of many lengths."""
    return [
        Question(
            **{
                "kind": "page",
                "messages": (Message("system", "You watch films."), Message("user", f"Film {n}? " * (1 + n % 7))),
                "schema": SCHEMA,
                "draw": n,
            }
            | changes
        )
        for n in range(count)
    ]


def answers(model: Any, asked: Sequence[Question]) -> list[Answer]:
    """Return the answers to questions that are asked at once."""

    async def all_of_them() -> list[Answer]:
        try:
            return await asyncio.gather(*map(model.ask, asked))
        finally:
            await model.close()

    return asyncio.run(all_of_them())


def told(some: Sequence[Answer]) -> list[tuple[object, ...]]:
    """Return the answers without the time that they took."""
    return [(one.text, one.tokens_in, one.tokens_out, one.cut) for one in some]


@pytest.mark.parametrize("name", ["qwen", "llama"])
def test_every_answer_has_its_form_and_none_depends_on_who_else_asks(checkpoints: Path, name: str):
    asked = questions(48)
    together = Local(checkpoints / name, batch_size=16)
    found = answers(together, asked)

    assert together.batches == 3
    assert len({one.text for one in found}) > 40
    for one in found:
        assert not one.cut
        assert PageAnswer.model_validate_json(one.text)
        assert list(json.loads(one.text)) == list(PageAnswer.model_fields)
    alone = answers(Local(checkpoints / name, batch_size=1), asked[:8])
    assert told(alone) == told(found[:8])
    backwards = answers(Local(checkpoints / name, batch_size=7), asked[:20][::-1])
    assert told(backwards) == told(found[:20])[::-1]


def test_an_answer_follows_from_question_draw_and_seed(checkpoints: Path):
    (asked,) = questions(1, draw=3)
    (again, other) = (questions(1, draw=draw)[0] for draw in (3, 4))
    first, second, third = told(answers(Local(checkpoints / "qwen", seed=5), [asked, again, other]))

    assert first == second
    assert first != third
    assert told(answers(Local(checkpoints / "qwen", seed=6), [asked])) != [first]


def test_without_temperature_every_draw_is_the_likeliest_answer(checkpoints: Path):
    asked = [questions(1, draw=draw, most_tokens=40)[0] for draw in range(3)]
    model = Local(checkpoints / "qwen", temperature=0)
    assert len(set(told(answers(model, asked)))) == 1
    assert model.settings["temperature"] == 0.0


def test_a_question_without_a_schema_gets_plain_text_up_to_its_limit(checkpoints: Path):
    short, long = questions(1, schema=None, most_tokens=5), questions(1, schema=None, most_tokens=30)
    (one, other) = answers(Local(checkpoints / "llama"), short + long)

    assert one.cut
    assert one.tokens_out == 5
    assert one.text
    assert one.tokens_in == other.tokens_in > 5
    assert other.tokens_out == 30 or not other.cut


def test_an_answer_that_is_cut_beside_a_longer_one_is_no_fault(checkpoints: Path):
    short, long = questions(1, most_tokens=5)[0], questions(1, most_tokens=40, draw=9)[0]
    one, other = answers(Local(checkpoints / "llama", batch_size=2), [short, long])
    assert (one.cut, one.tokens_out) == (True, 5)
    assert other.tokens_out > 5


def test_an_answer_that_meets_its_limit_is_cut(checkpoints: Path):
    (one,) = answers(Local(checkpoints / "qwen"), questions(1, most_tokens=8))
    assert (one.cut, one.tokens_out) == (True, 8)
    assert one.text.startswith('{"items": [')


def test_a_question_longer_than_the_context_is_refused_and_its_neighbours_are_not(checkpoints: Path):
    long = Question("page", (Message("user", "Film? " * 5000),), SCHEMA)
    tight = Question("page", (Message("user", "x" * 4000),), None, most_tokens=4096)

    async def all_of_them() -> list[Any]:
        model = Local(checkpoints / "llama")
        found = await asyncio.gather(*map(model.ask, [*questions(2), long, tight]), return_exceptions=True)
        await model.close()
        return found

    first, second, refused, last = asyncio.run(all_of_them())
    assert first.text
    assert second.text
    assert isinstance(refused, Refused)
    assert "and the model's context holds 4,096" in str(refused)
    assert last.tokens_in + last.tokens_out <= 4096


def test_a_schema_that_no_grammar_can_hold_is_refused(checkpoints: Path):
    asked = questions(1, schema={"type": "object", "properties": {"a": {"type": "strange"}}, "required": ["a"]})
    with pytest.raises(Refused, match="cannot be held to its schema"):
        answers(Local(checkpoints / "qwen"), asked)


def test_a_checkpoint_does_not_speak_in_how_it_is_asked(checkpoints: Path, tmp_path: Path):
    """Its own settings may name more tokens that end an answer, and nothing else."""
    other = shutil.copytree(checkpoints / "qwen", tmp_path / "qwen")
    own = json.loads((other / "generation_config.json").read_text())
    own |= {"do_sample": True, "temperature": 0.01, "top_k": 1, "repetition_penalty": 9.0, "max_new_tokens": 3}
    own |= {"num_beams": 2, "suppress_tokens": list(range(3, 300)), "min_new_tokens": 900}
    (other / "generation_config.json").write_text(json.dumps(own))
    asked = questions(4)

    assert told(answers(Local(other), asked)) == told(answers(Local(checkpoints / "qwen"), asked))

    own["eos_token_id"] = [own["eos_token_id"], *range(3, 400)]
    (other / "generation_config.json").write_text(json.dumps(own))
    (one,) = answers(Local(other), questions(1, schema=None))
    assert (one.text, one.tokens_out, one.cut) == ("", 1, False)


def test_the_chat_template_is_told_more_and_may_know_no_system(checkpoints: Path, tmp_path: Path):
    other = shutil.copytree(checkpoints / "qwen", tmp_path / "qwen")
    template = other / "chat_template.jinja"
    template.write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
        + template.read_text()
        + "{% if thinking is defined and not thinking %}I think not.{% endif %}"
    )
    asked = questions(1, schema=None, most_tokens=1)
    (plain,) = answers(Local(other), asked)
    (more,) = answers(Local(other, template={"thinking": False}), asked)
    (usual,) = answers(Local(checkpoints / "qwen"), asked)

    assert 0 < plain.tokens_in < usual.tokens_in
    assert more.tokens_in > plain.tokens_in


def test_answers_are_recorded_and_replayed_without_the_weights(checkpoints: Path, tmp_path: Path):
    place = {"kind": "local", "path": str(checkpoints / "qwen"), "batch_size": 8}
    asked = questions(10)
    first: Any = open_model(place, Answers(tmp_path / "answers.sqlite"))
    found = answers(first, asked)
    again: Any = open_model(place | {"batch_size": 2}, Answers(tmp_path / "answers.sqlite", replay=True))

    assert isinstance(first, Recorded)
    assert isinstance(first.model, Budgeted)
    assert answers(again, asked) == found
    assert first.model.model.batches == 2
    assert again.model.model.batches == 0
    with pytest.raises(DeadEnd, match="no answer to this question"):
        answers(again, questions(11)[10:])


def test_settings_tell_the_weights_by_their_content_and_no_place(checkpoints: Path, tmp_path: Path):
    settings = Local(checkpoints / "qwen").settings
    moved = shutil.copytree(checkpoints / "qwen", tmp_path / "elsewhere" / "qwen")

    assert settings == Local(moved).settings
    assert settings["kind"] == "local"
    assert settings["model"] == "qwen"
    assert str(checkpoints) not in json.dumps(settings)
    with (moved / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        last = weights.read(1)[0]
        weights.seek(-1, 2)
        weights.write(bytes([last ^ 1]))
    assert settings["weights"] != Local(moved).settings["weights"]


def test_who_waits_no_longer_holds_up_nobody(checkpoints: Path):
    """A model that never ends is asked for its whole context, and given up."""
    endless = Question("page", (Message("user", "Say on."),), {"type": "string", "minLength": 100_000}, 0, 4000)

    async def given_up() -> float:
        model = Local(checkpoints / "qwen")
        await model.ask(questions(1)[0])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.ask(endless), 0.3)
        begin = time.perf_counter()
        await model.close()
        return time.perf_counter() - begin

    assert asyncio.run(given_up()) < 1


def test_a_spent_budget_stops_it(checkpoints: Path):
    model = open_model({"kind": "local", "path": str(checkpoints / "qwen"), "budget": {"tokens": 3000}})
    with pytest.raises(BudgetSpent):
        answers(model, questions(40))


@pytest.mark.parametrize(
    ("missing", "wrong"),
    [
        (None, "no folder '.*nowhere' with a model; nothing is downloaded"),
        ("config.json", "holds no config.json"),
        ("model.safetensors", "holds no .*safetensors; its weights are to be safetensors, which run no code"),
    ],
)
def test_a_folder_that_is_no_model_is_told_at_once(checkpoints: Path, tmp_path: Path, missing: str | None, wrong: str):
    folder = tmp_path / "nowhere"
    if missing is not None:
        shutil.copytree(checkpoints / "llama", folder)
        (folder / missing).rename(folder / "pytorch_model.bin")
    with pytest.raises(SimenvError, match=wrong):
        open_model({"kind": "local", "path": str(folder)})


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number, at least 1"),
        ({"temperature": -1}, "temperature is -1"),
        ({"nonsense": 1}, "nonsense"),
        ({"device": "abacus"}, "the model qwen cannot be loaded .*abacus"),
    ],
)
def test_an_option_that_cannot_be_is_told(checkpoints: Path, options: dict[str, Any], wrong: str):
    with pytest.raises(SimenvError, match=wrong):
        answers(open_model({"kind": "local", "path": str(checkpoints / "qwen")} | options), questions(1))


def test_damaged_weights_are_a_dead_end_for_all_who_wait(checkpoints: Path, tmp_path: Path):
    damaged = shutil.copytree(checkpoints / "qwen", tmp_path / "qwen")
    (damaged / "model.safetensors").write_bytes(b"nothing")

    async def all_of_them() -> list[Any]:
        model = Local(damaged)
        found = await asyncio.gather(*map(model.ask, questions(3)), return_exceptions=True)
        await model.close()
        return found

    for error in asyncio.run(all_of_them()):
        assert isinstance(error, DeadEnd)
        assert "the model qwen cannot be loaded" in str(error)
        assert str(tmp_path) not in str(error)


@pytest.mark.parametrize("library", ["transformers", "llguidance"])
def test_without_a_library_its_extra_is_named(checkpoints: Path, monkeypatch: pytest.MonkeyPatch, library: str):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"\.\[local\]"):
        open_model({"kind": "local", "path": str(checkpoints / "qwen")})


def test_any_form_is_read_at_the_first_attempt(checkpoints: Path):
    async def outcome() -> Any:
        model = Local(checkpoints / "llama")
        found = await ask(model, questions(1, schema=None)[0], PageAnswer)
        await model.close()
        return found

    found = asyncio.run(outcome())
    assert (found.how, found.calls) == ("plain", 1)


def test_agents_browse_by_it_and_a_run_tells_no_home(
    checkpoints: Path, tiny: Callable[..., Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = tmp_path / "home"
    shutil.copytree(checkpoints / "qwen", home / "models" / "qwen")
    monkeypatch.setenv("HOME", str(home))
    model = {"kind": "local", "path": str(home / "models" / "qwen"), "batch_size": 8}
    population = {"name": "llm", "model": model, "most_failed": 1}
    scenario = tiny(population=population, policies=["pop"], users=5, max_pages=2)
    first = run(scenario, tmp_path / "first")
    again = run(scenario, tmp_path / "again", replay=tmp_path / "first")

    assert first.events.equals(again.events)
    assert first.manifest["status"] == "complete"
    assert sum(first.manifest["readings"]["page"].values()) == len(first.pages)
    assert "asked of qwen" in json.dumps(first.manifest)
    written = [file for file in (tmp_path / "first").rglob("*") if file.is_file()]
    assert not [file for file in written if str(home).encode() in file.read_bytes()]
