"""The small language model is a Llama like any other, and reads the same in pieces as at once."""

import json

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.errors import SimenvError, StoreError  # noqa: E402
from simenv.language.llama import Llama, Shape, load_llama, save_llama  # noqa: E402

SHAPE = Shape(vocabulary=50, dimensions=32, layers=2, heads=4, context=64)


@pytest.fixture
def model() -> Llama:
    torch.manual_seed(0)
    made = Llama(SHAPE).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return made


def told(model: Llama, tokens: torch.Tensor, **how: object) -> torch.Tensor:
    with torch.no_grad():
        return model.scores(model(tokens, **how))


def tokens(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, SHAPE.vocabulary, (rows, length), generator=torch.Generator().manual_seed(rows + length))


def test_transformers_loads_it_and_gives_the_same_scores(model, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (the extra local)")
    save_llama(model, tmp_path, ends=0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    asked = tokens(3, 20)
    with torch.no_grad():
        scores = theirs(asked).logits
    torch.testing.assert_close(told(model, asked), scores, atol=1e-5, rtol=1e-5)


def test_a_saved_model_comes_back_whole(model, tmp_path):
    save_llama(model, tmp_path, ends=0)
    again = load_llama(tmp_path)
    assert again.shape == SHAPE.__class__(50, 32, 2, 4, SHAPE.inner, 64)
    assert torch.equal(told(again, tokens(2, 9)), told(model, tokens(2, 9)))


def test_reading_in_pieces_is_reading_at_once(model):
    asked, past = tokens(2, 12), model.past(2, 12)
    parts = [told(model, part, past=past) for part in (asked[:, :7], asked[:, 7:8], asked[:, 8:])]
    torch.testing.assert_close(torch.cat(parts, dim=1), told(model, asked), atol=1e-5, rtol=1e-5)


def test_a_token_sees_nothing_that_comes_after(model):
    asked = tokens(1, 10)
    other = asked.clone()
    other[0, 6:] = (other[0, 6:] + 1) % SHAPE.vocabulary
    torch.testing.assert_close(told(model, asked)[:, :6], told(model, other)[:, :6])


def test_the_scores_of_some_tokens_are_a_part_of_all(model):
    with torch.no_grad():
        found = model(tokens(2, 5))
        torch.testing.assert_close(model.scores(found, 10, 20), model.scores(found)[..., 10:20])


@pytest.mark.parametrize("damage", ["config", "weights", "missing"])
def test_a_damaged_folder_is_told(model, tmp_path, damage):
    save_llama(model, tmp_path, ends=0)
    if damage == "config":
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    elif damage == "weights":
        (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    else:
        (tmp_path / "model.safetensors").unlink()
    with pytest.raises(StoreError, match="holds no model"):
        load_llama(tmp_path)


def test_heads_that_do_not_fit_are_told():
    with pytest.raises(SimenvError, match="even multiple"):
        Shape(vocabulary=5, dimensions=20, heads=8)
