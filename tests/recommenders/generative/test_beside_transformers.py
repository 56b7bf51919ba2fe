"""The decoder finds what transformers finds under a prefix function, and no checkpoint's settings change it."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (the extra local)")

from simenv.language.llama import Llama, Shape, load_llama, save_llama  # noqa: E402
from simenv.language.pretrained import load_pretrained  # noqa: E402
from simenv.recommenders.generative.beam import Decoded, beam  # noqa: E402
from simenv.recommenders.generative.trie import ItemTrie  # noqa: E402

VOCABULARY, END, WIDTH = 60, 1, 6
LENGTHS = [9, 4, 7, 9]
HOSTILE = {
    "bad_words_ids": [[20], [21], [22]],
    "do_sample": True,
    "exponential_decay_length_penalty": [1, 5.0],
    "forced_bos_token_id": 3,
    "forced_eos_token_id": 4,
    "length_penalty": -5.0,
    "max_new_tokens": 1,
    "no_repeat_ngram_size": 1,
    "num_beam_groups": 2,
    "num_beams": 2,
    "repetition_penalty": 5.0,
    "suppress_tokens": [30, 31],
    "temperature": 0.01,
    "top_k": 2,
    "top_p": 0.1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = Llama(Shape(VOCABULARY, dimensions=32, layers=2, heads=4, context=64))
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn_like(weight)
    place = tmp_path_factory.mktemp("model")
    save_llama(model, place, ends=END)
    return place


@pytest.fixture(scope="module")
def prompts() -> torch.Tensor:
    return torch.randint(2, 20, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(0))


def codes() -> np.ndarray:
    """Return items of three codes each, some of them alike."""
    return np.random.default_rng(0).integers(0, 10, (300, 3)) + np.array([20, 30, 40])


def titles() -> np.ndarray:
    """Return items of one to five words, each with an end, none of them alike."""
    rng = np.random.default_rng(0)
    some = sorted({tuple(rng.integers(20, 25, rng.integers(1, 6)).tolist()) for _ in range(120)})
    return np.array([[*row, END, *[-1] * (5 - len(row))] for row in some])


def theirs(folder: Path, prompts: torch.Tensor, rows: np.ndarray, ends: int | None) -> list[list[list[int]]]:
    """Return each user's rows of tokens by `generate`, best first."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    longest = prompts.shape[1]
    padded, seen = torch.zeros_like(prompts), torch.zeros_like(prompts)
    for row, length in enumerate(LENGTHS):
        padded[row, longest - length :] = prompts[row, :length]
        seen[row, longest - length :] = 1
    allowed: dict[tuple[int, ...], set[int]] = {}
    for row in rows.tolist():
        kept = [token for token in row if token != -1]
        for place, token in enumerate(kept):
            allowed.setdefault(tuple(kept[:place]), set()).add(token)
    told = model.generate(
        padded,
        attention_mask=seen,
        generation_config=transformers.GenerationConfig(
            num_beams=WIDTH,
            num_return_sequences=WIDTH,
            max_new_tokens=rows.shape[1],
            length_penalty=0.0,
            eos_token_id=ends,
            pad_token_id=0,
        ),
        prefix_allowed_tokens_fn=lambda _, read: sorted(allowed.get(tuple(read[longest:].tolist()), {0})),
    )
    found = told[:, longest:].view(len(LENGTHS), WIDTH, -1).tolist()
    return [[row[: row.index(END) + 1] if END in row else row for row in some] for some in found]


def rows_of(found: Decoded, rows: np.ndarray) -> list[list[list[int]]]:
    """Return the rows of tokens that were found, those of items alike once."""
    told = [[tuple(token for token in rows[item] if token != -1) for item in some] for some in found.items.tolist()]
    return [[list(row) for row in dict.fromkeys(some)] for some in told]


@pytest.mark.parametrize("load", [load_llama, load_pretrained])
@pytest.mark.parametrize(("rows", "ends"), [(codes(), None), (titles(), END)], ids=["codes", "titles"])
def test_the_items_are_those_of_generate(folder, prompts, load, rows, ends):
    found = beam(load(folder), prompts, ItemTrie.of(rows), WIDTH, lengths=torch.tensor(LENGTHS))
    wanted = theirs(folder, prompts, rows, ends)
    assert (found.items >= 0).all()
    for mine, some in zip(rows_of(found, rows), wanted, strict=True):
        assert mine == some[: len(mine)]


@pytest.mark.parametrize("settings", [json.dumps(HOSTILE), "no JSON at all"])
def test_generation_settings_of_a_checkpoint_change_nothing(folder, prompts, tmp_path, settings):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "generation_config.json").write_text(settings)
    trie, lengths = ItemTrie.of(codes()), torch.tensor(LENGTHS)
    plain = beam(load_pretrained(folder), prompts, trie, 50, lengths=lengths)
    hostile = beam(load_pretrained(tmp_path), prompts, trie, 50, lengths=lengths)
    assert torch.equal(plain.items, hostile.items)
    assert torch.equal(plain.scores, hostile.scores)
    assert (hostile.items >= 0).all()


def test_both_adapters_score_alike(folder, prompts):
    trie = ItemTrie.of(codes())
    ours, other = (beam(load(folder), prompts, trie, 300) for load in (load_llama, load_pretrained))
    assert torch.equal(ours.items, other.items)
    torch.testing.assert_close(ours.scores, other.scores, atol=1e-4, rtol=1e-5)
