"""A model of transformers decodes as one of our own, whatever else its folder would have it do."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (the extra local)")

from simenv.errors import SimenvError, StoreError  # noqa: E402
from simenv.language.llama import Llama, Shape, save_llama  # noqa: E402
from simenv.language.pretrained import Pretrained, load_pretrained  # noqa: E402

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def made(model_type: str, **more: object) -> Pretrained:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **(SMALL | more))
    return Pretrained(transformers.AutoModelForCausalLM.from_config(config).eval())


def tokens(rows: int, length: int) -> torch.Tensor:
    return torch.randint(0, 60, (rows, length), generator=torch.Generator().manual_seed(rows + length))


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    model = Llama(Shape(60, dimensions=32, layers=2, heads=4, context=64))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    save_llama(model, tmp_path, ends=0)
    return tmp_path


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "mistral", "gemma2", "cohere", "gpt_neox"])
def test_reading_in_pieces_gives_the_scores_of_the_model_itself(model_type):
    model, asked = made(model_type), tokens(2, 12)
    past = model.past(2, 12)
    with torch.no_grad():
        parts = [model.scores(model(part, past=past)) for part in (asked[:, :7], asked[:, 7:8], asked[:, 8:])]
        wanted = model.model(input_ids=asked).logits
    torch.testing.assert_close(torch.cat(parts, dim=1), wanted, atol=1e-5, rtol=1e-4)


def test_what_is_masked_is_not_seen(folder):
    model, asked = load_pretrained(folder), tokens(1, 6)
    mask = torch.ones(6, 6).tril().bool()
    mask[5, 2:5] = False
    with torch.no_grad():
        found = model(asked, mask=mask[None, None], positions=torch.tensor([[0, 1, 2, 3, 4, 2]]))
        alone = model(asked[:, [0, 1, 5]])
    torch.testing.assert_close(found[:, 5], alone[:, 2])


def test_a_past_forgets_what_it_is_told_to(folder):
    model, asked = load_pretrained(folder), tokens(1, 8)
    past = model.past(1, 8)
    with torch.no_grad():
        model(asked, past=past)
        past.length = 4
        torch.testing.assert_close(model(asked[:, 4:], past=past), model(asked)[:, 4:])


def test_more_than_the_context_is_refused(folder):
    with pytest.raises(SimenvError, match="65 tokens are to be read, and the model's context holds 64"):
        load_pretrained(folder)(tokens(1, 65))


def test_a_model_that_reads_in_its_own_way_is_refused():
    config = transformers.BloomConfig(vocab_size=60, hidden_size=32, n_layer=1, n_head=2)
    with pytest.raises(SimenvError, match="BloomForCausalLM cannot be decoded from"):
        Pretrained(transformers.AutoModelForCausalLM.from_config(config).eval())


@pytest.mark.parametrize("damage", ["pickle", "none", "nonsense"])
def test_a_folder_without_safe_weights_is_refused(folder, damage):
    weights = folder / "model.safetensors"
    if damage == "pickle":
        torch.save(dict(load_pretrained(folder).model.state_dict()), folder / "pytorch_model.bin")
        weights.unlink()
    elif damage == "none":
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text(json.dumps({"model_type": "nonsense"}))
    with pytest.raises(StoreError, match="holds no model"):
        load_pretrained(folder)


def test_no_code_of_a_folder_runs(folder):
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "theirs"
    config["auto_map"] = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text("raise SystemExit('ran')\n")
    with pytest.raises(StoreError, match="holds no model"):
        load_pretrained(folder)
