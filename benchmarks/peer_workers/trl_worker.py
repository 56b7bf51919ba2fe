"""TRL: DPO by its own trainer, the reference's log-probabilities worked out before or in every step."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # or it reports to its makers from a thread of its own

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pairs
import torch
from datasets import Dataset
from million import Log
from serving import Unit, serve
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer


class Stopwatch(TrainerCallback):
    """Times the steps after the first, from the end of one to the end of another."""

    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        if state.global_step == 1:
            self.begin = time.process_time()
        self.spent = time.process_time() - self.begin


def trainer(*, precompute: bool) -> DPOTrainer:
    """Return TRL's trainer as it comes, but for what is wrong on a CPU: half precision and gradient checkpoints."""
    told = pairs.load(Path(pairs.PAIRS))
    model = AutoModelForCausalLM.from_pretrained(pairs.MODEL, dtype=torch.float32)
    config = DPOConfig(
        output_dir="trl",
        beta=pairs.BETA,
        learning_rate=pairs.RATE,
        per_device_train_batch_size=pairs.BATCH,
        max_steps=1 + pairs.STEPS,
        precompute_ref_log_probs=precompute,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    return DPOTrainer(
        model,
        args=config,
        train_dataset=Dataset.from_dict(written(told)),
        processing_class=tokenizer(model.config.vocab_size),
        callbacks=[Stopwatch()],
    )


def written(told: pairs.Pairs) -> dict[str, list[str]]:
    """Return the pairs in words, for it takes nothing else."""
    return {
        "prompt": [words(prompt) for prompt in told.prompts],
        "chosen": [" " + words(answers[0]) for answers in told.answers],
        "rejected": [" " + words(answers[1]) for answers in told.answers],
    }


def words(tokens: Any) -> str:
    return " ".join(word(token) for token in tokens)


def word(token: int) -> str:
    return "<end>" if token == pairs.END else f"t{token}"


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return one that knows a word for each token."""
    model = WordLevel({word(token): token for token in range(vocabulary)}, unk_token=word(1))
    whole = Tokenizer(model)
    whole.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=whole, eos_token=word(pairs.END))


def dpo(*, precompute: bool) -> Callable[[Log], Unit]:
    """Return a task of a few steps."""

    def task(_: Log) -> Unit:
        teacher = trainer(precompute=precompute)
        if precompute:
            known = teacher.train_dataset
            np.save("trl.npy", np.stack([known["ref_chosen_logps"], known["ref_rejected_logps"]], axis=1))

        def unit() -> dict[str, Any]:
            teacher.train()
            watch = next(one for one in teacher.callback_handler.callbacks if isinstance(one, Stopwatch))
            return {"units": pairs.STEPS * pairs.BATCH, "cpu_seconds": watch.spent}

        return unit

    return task


if __name__ == "__main__":
    serve({"precomputed": dpo(precompute=True), "default": dpo(precompute=False)})
