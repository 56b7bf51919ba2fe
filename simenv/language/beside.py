"""A checkpoint of transformers, and what is learnt beside its own weights (LoRA)."""

from pathlib import Path
from typing import Any

import numpy as np

from simenv.chance import key
from simenv.chat.local import checked_folder
from simenv.errors import MissingExtra, SimenvError

try:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch import Tensor, nn
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_log
except ImportError:
    raise MissingExtra("teaching a checkpoint", "hf") from None


class Beside(nn.Module):
    """A causal model whose weights stay as they are, with a little learnt beside each of its layers."""

    def __init__(self, model: Any, rank: int) -> None:
        super().__init__()
        try:
            self.whole: Any = get_peft_model(
                model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
            )
        except ValueError as error:
            raise SimenvError(f"nothing can be learnt beside the layers of this model: {error}") from None
        config = model.config.get_text_config()
        self.vocabulary: int = int(config.vocab_size)
        self.context: int = int(getattr(config, "max_position_embeddings", None) or 0)  # 0: it names none

    def forward(self, tokens: Tensor, **_: Any) -> Tensor:
        """Return the scores of the next token at each place [B, L, V] of some tokens [B, L]."""
        return self.whole(input_ids=tokens, use_cache=False).logits

    def scores(self, found: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Return the scores of some tokens; they are known already."""
        return found[..., first:end]

    def save_whole(self, folder: Path) -> dict[str, Any]:
        """Write an ordinary checkpoint, with what was learnt in its weights; return how large it is."""
        told = {"weights": sum(weight.numel() for weight in self.parameters())}
        told["learnt"] = sum(weight.numel() for weight in self.parameters() if weight.requires_grad)
        self.whole.merge_and_unload().save_pretrained(folder)
        return told


def open_beside(folder: Path, rank: int, seed: int) -> tuple[Beside, Any]:
    """Return a checkpoint's model, ready to learn beside its weights, and its tokenizer; no code of its own runs."""
    local: Any = {"local_files_only": True, "trust_remote_code": False}
    transformers_log.disable_progress_bar()
    path = checked_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **local)
        model = AutoModelForCausalLM.from_pretrained(path, use_safetensors=True, dtype=torch.float32, **local)
    except (OSError, ValueError) as error:
        raise SimenvError(f"{folder}: cannot be loaded ({type(error).__name__}: {str(error)[:200]})") from None
    if tokenizer.eos_token_id is None:
        raise SimenvError(f"{folder}: its tokenizer names no token that ends an answer (eos_token)")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(key(seed, "beside") >> np.uint64(1)))
        return Beside(model, rank), tokenizer
