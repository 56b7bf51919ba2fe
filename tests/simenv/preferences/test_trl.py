"""TRL itself takes the rows: its checks of a row's form, and one step of its own trainers on a tiny model."""

import importlib.util
from pathlib import Path

import pytest

from simenv.rundir import RunDir
from simenv.scenarios.pairs import Wish, pairs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed"),
]
TEMPLATE = "{% for m in messages %}<{{ m.role }}> {{ m.content }} </s> {% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"  # noqa: E501


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    raw = Tokenizer(models.BPE(vocab={"<pad>": 256, "</s>": 257} | letters, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>")
    made.chat_template = TEMPLATE
    return made


@pytest.fixture
def model(tmp_path: Path) -> str:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=260,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
        pad_token_id=256,
        eos_token_id=257,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")  # the reference is read from the same folder
    return str(tmp_path / "model")


def rows_of(run: RunDir, path: Path, form: str):
    from datasets import load_dataset

    pairs(run.folder, path, Wish(form=form, leaks="drop", window=5))
    kind = {".jsonl": "json", ".parquet": "parquet"}[path.suffix]
    return load_dataset(kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


def settings(folder: Path) -> dict:
    return {
        "output_dir": str(folder / "trained"),
        "per_device_train_batch_size": 2,
        "max_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("form", ["trl", "plain"])
def test_dpo_takes_a_step_on_our_pairs(finished: RunDir, tmp_path: Path, tokenizer, model, form: str, suffix: str):
    from trl import DPOConfig, DPOTrainer
    from trl.data_utils import is_conversational, maybe_apply_chat_template, maybe_extract_prompt

    rows = rows_of(finished, tmp_path / f"pairs{suffix}", form)
    assert is_conversational(rows[0]) == (form == "trl")
    assert maybe_extract_prompt(rows[0]) == rows[0]
    texts = maybe_apply_chat_template(rows[0], tokenizer)
    assert texts["chosen"] != texts["rejected"]
    some = rows.select(range(4))
    trainer = DPOTrainer(
        model=model, args=DPOConfig(**settings(tmp_path)), train_dataset=some, processing_class=tokenizer
    )
    assert trainer.train().global_step == 1
    told = tokenizer.decode(trainer.train_dataset[0]["chosen_ids"])
    wanted = some[0]["chosen"] if form == "plain" else some[0]["chosen"][0]["content"]
    assert wanted.strip() in told


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_kto_takes_a_step_on_our_labels(finished: RunDir, tmp_path: Path, tokenizer, model, suffix: str):
    from trl import KTOConfig, KTOTrainer
    from trl.data_utils import is_conversational

    rows = rows_of(finished, tmp_path / f"labels{suffix}", "kto")
    assert is_conversational(rows[0])
    assert set(rows["label"]) == {True, False}
    good = [row for row, label in enumerate(rows["label"]) if label][:2]
    bad = [row for row, label in enumerate(rows["label"]) if not label][:2]
    trainer = KTOTrainer(
        model=model,
        args=KTOConfig(**settings(tmp_path)),
        train_dataset=rows.select(good + bad),
        processing_class=tokenizer,
    )
    assert trainer.train().global_step == 1
