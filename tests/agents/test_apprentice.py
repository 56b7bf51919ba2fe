"""A model that is taught answers as its teacher did, in a folder that any agent can be asked of."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")
pytest.importorskip("llguidance", reason="llguidance is not installed (the extra local)")

from simenv.agents.apprentice import CARD, Schooling, _compared, likeness, split_by_user, teach  # noqa: E402
from simenv.agents.lessons import Answered, Lesson, Rehearsal  # noqa: E402
from simenv.agents.llm import LLMPopulation  # noqa: E402
from simenv.chat.local import Local  # noqa: E402
from simenv.dataset import Dataset  # noqa: E402
from simenv.errors import SimenvError, StoreError  # noqa: E402
from simenv.films import films_world  # noqa: E402
from simenv.language.llama import Llama, Shape, save_llama  # noqa: E402
from simenv.pages import Page  # noqa: E402
from simenv.splits import leave_one_out  # noqa: E402

TINY = Schooling(dimensions=32, layers=1, heads=2, vocabulary=800, epochs=5, learning_rate=0.01, batch_tokens=512)


@pytest.fixture(scope="module")
def train() -> Dataset:
    return leave_one_out(films_world(users=20, items=60).dataset).train


@pytest.fixture(scope="module")
def lessons(train: Dataset) -> list[Lesson]:
    """Everybody takes whatever he is shown, gives it a four, and stays."""
    agents = LLMPopulation()
    agents.fit(train)
    rng, rehearsal = np.random.default_rng(0), Rehearsal(agents)
    made = []
    for number in range(60):
        items = rng.choice(60, 3, replace=False).tolist()
        made += rehearsal.session(number % 20, [Answered(items, [4] * 3, [4.0] * 3, 8.0, None)], number)
    return made


@pytest.fixture(scope="module")
def taught(lessons: list[Lesson], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("taught") / "model"
    teach(lessons, folder, TINY)
    return folder


def test_it_does_what_it_was_taught(taught, lessons):
    _, kept = split_by_user(lessons, TINY.held_out, TINY.seed)
    found = likeness(taught, kept, temperature=0.0)
    assert (found.pages, found.unread) == (len(kept), 0)
    assert found.same.mean == 1.0
    assert found.took == (1.0, 1.0)
    assert found.leaves == (0.0, 0.0)


def test_agents_are_asked_of_it_like_of_any_model(taught, train):
    population = LLMPopulation(model=Local(taught, temperature=0.0))
    population.fit(train)
    luck = np.array([1, 2], dtype=np.uint64)
    page = Page(np.array([0, 1]), np.array([0, 1]), np.array([0, 0]), np.array([[1, 2, 3], [4, 5, 6]]))
    reaction = population.enter(np.array([0, 1]), luck).react(page)
    population.close()
    assert (reaction.grades == 4).all()
    assert set(reaction.readings.tolist()) <= {"plain", "mended"}


def test_the_folder_says_what_was_learnt(taught, lessons):
    card = json.loads((taught / CARD).read_text())
    assert card["lessons"] + card["kept_for_judging"] == len(lessons)
    assert card["schooling"]["epochs"] == TINY.epochs
    assert card["loss"] < 0.1


def test_it_is_judged_by_users_it_never_learnt_from(lessons):
    learnt, kept = split_by_user(lessons, 0.2, 0)
    assert not {one.user for one in learnt} & {one.user for one in kept}
    assert len({one.user for one in kept}) == 4


def test_broken_off_it_goes_on_and_becomes_the_same(lessons, taught, tmp_path, monkeypatch):
    monkeypatch.setattr("simenv.language.course.SAVE_EVERY", 0.0)

    def stop(epoch: object) -> None:
        if epoch.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach(lessons, tmp_path / "model", TINY, watch=stop)
    teach(lessons, tmp_path / "model", TINY)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (taught / "model.safetensors").read_bytes()


def test_other_lessons_in_the_same_folder_are_told(lessons, taught):
    with pytest.raises(StoreError, match="another course"):
        teach(lessons[:-1], taught, TINY)


def test_a_checkpoint_learns_beside_its_weights(taught, lessons, tmp_path):
    pytest.importorskip("peft", reason="peft is not installed (the extra hf)")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(taught)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = Llama(Shape(len(tokenizer), dimensions=32, layers=1, heads=2, context=1024))
    save_llama(fresh, tmp_path / "base", ends=tokenizer.eos_token_id)
    tokenizer.save_pretrained(tmp_path / "base")
    how = Schooling(epochs=2, learning_rate=0.02, rank=4, batch_tokens=2048)
    made = teach(lessons, tmp_path / "made", how, checkpoint=tmp_path / "base")

    assert made.learning.losses[1] < made.learning.losses[0]
    base, after = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("base", "made"))
    assert torch.equal(base.model.embed_tokens.weight, after.model.embed_tokens.weight)
    assert not torch.equal(base.model.layers[0].mlp.up_proj.weight, after.model.layers[0].mlp.up_proj.weight)


def test_a_folder_without_a_model_is_told(lessons, tmp_path):
    pytest.importorskip("peft", reason="peft is not installed (the extra hf)")
    with pytest.raises(SimenvError, match="no folder"):
        teach(lessons, tmp_path / "made", TINY, checkpoint=tmp_path / "nothing")


def test_pages_that_fit_no_context_are_told(lessons, taught, tmp_path):
    pytest.importorskip("peft", reason="peft is not installed (the extra hf)")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(taught)
    save_llama(Llama(Shape(len(tokenizer), 32, 1, 2, context=16)), tmp_path / "base", ends=0)
    tokenizer.save_pretrained(tmp_path / "base")
    with pytest.raises(SimenvError, match="context of 16"):
        teach(lessons, tmp_path / "made", TINY, checkpoint=tmp_path / "base")


def test_likeness_tells_chance_from_agreement():
    def said(acts: str) -> dict[str, object]:
        items = [{"letter": "ABCD"[place], "act": act, "rating": 4} for place, act in enumerate(acts.split())]
        return {"items": items, "satisfaction": 5, "then": "stay"}

    same = [(user, said("take pass take pass"), said("take pass take pass")) for user in range(5)]
    other = [(user, said("take pass take pass"), said("take take pass pass")) for user in range(5)]
    assert _compared(same, 5).kappa.mean == 1.0
    assert _compared(other, 6).kappa.mean == 0.0
    assert _compared(other, 6).unread == 1
