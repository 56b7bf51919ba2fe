"""A checkpoint of any kind learns tokens of ours, and what it learnt stands in an ordinary folder."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra hf)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (the extra hf)")
pytest.importorskip("peft", reason="peft is not installed (the extra hf)")

from simenv.errors import SimenvError  # noqa: E402
from simenv.language.widened import open_widened  # noqa: E402

SIZE = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
KINDS = {
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=60, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    ),  # whose layers are written the other way round
    "phi": lambda: transformers.PhiConfig(**SIZE),  # whose head has a bias
    "gemma": lambda: transformers.Gemma3TextConfig(**SIZE, head_dim=8),  # which scales its table
    "granite": lambda: transformers.GraniteConfig(**SIZE, logits_scaling=2.0),  # and this its scores
}


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(KINDS[request.param]()).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize("rank", [0, 2])
def test_what_was_learnt_is_in_the_merged_weights(folder, tmp_path, rank):
    model = open_widened(folder, 50, 15, rank)  # ten of its rows are no tokens of its tokenizer's
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.05)
    tokens = torch.arange(65).view(5, 13)
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(model.scores(model(tokens)).flatten(0, 1), tokens.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval().save_whole(tmp_path / "merged")
    merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    with torch.no_grad():
        scores = model.scores(model(tokens))
        assert torch.allclose(scores, merged(tokens).logits, atol=1e-5)
        some = model.scores(model(tokens), 45, 55)
    assert torch.allclose(some, scores[..., 45:55], atol=1e-6)
    known = open_widened(tmp_path / "merged", 50, 15, rank, known=True).eval()
    with torch.no_grad():
        assert torch.allclose(known.scores(known(tokens)), scores, atol=1e-5)


def test_new_rows_begin_near_the_mean_of_the_old(folder):
    model = open_widened(folder, 60, 200, 2)
    old = model.model.get_input_embeddings().old.weight
    assert (model.rows.mean(dim=0) - old.mean(dim=0)).abs().max() < 0.05 * old.std()
    assert model.rows.std() < 0.3 * old.std()


def test_a_table_that_lacks_the_tokenizers_own_tokens_is_told(folder):
    with pytest.raises(SimenvError, match="tokenizer knows 70 tokens and its table 60"):
        open_widened(folder, 70, 5, 2)
