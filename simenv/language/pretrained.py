"""Any causal language model of transformers, from a folder and nowhere else, under our own contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simenv.errors import MissingExtra, SimenvError, StoreError

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F
    from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig, PreTrainedModel
    from transformers.utils import logging as transformers_log
except ImportError:
    raise MissingExtra("a pretrained language model", "local") from None

CLOSE = 1e-3  # how far scores may lie from the checkpoint's own, in parts of the greatest


class Reading:
    """What a model has read so far."""

    def __init__(self, rows: int, room: int) -> None:
        self.rows, self.room = rows, room
        self.cache = DynamicCache()

    @property
    def length(self) -> int:
        """Return how many tokens that is."""
        return int(self.cache.get_seq_length())

    @length.setter
    def length(self, length: int) -> None:
        if length < self.length:
            self.cache.crop(length - self.length)


class Pretrained(nn.Module):
    """Reads tokens with a model of transformers; its generation settings are never looked at."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model
        self.model.generation_config = GenerationConfig()
        config = model.config.get_text_config()
        self.vocabulary = int(self._head.weight.shape[0])
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window")]
        if getattr(config, "use_sliding_window", True) is False:
            limits = limits[:1]
        self.context: int | None = min((limit for limit in limits if limit), default=None)
        self.scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)
        self.cap: float | None = getattr(config, "final_logit_softcapping", None)
        self._check()

    def forward(
        self, tokens: Tensor, *, positions: Tensor | None = None, mask: Tensor | None = None, past: Any = None
    ) -> Tensor:
        """Return what is known at each place [B, L, D] of some tokens [B, L], as the contract has it."""
        before = 0 if past is None else past.length
        if positions is None:
            positions = torch.arange(before, before + tokens.shape[1], device=tokens.device).expand_as(tokens)
        if self.context is not None and int(positions.max()) >= self.context:
            what = f"{int(positions.max()) + 1:,} tokens are to be read, and the model's context holds {self.context:,}"
            raise SimenvError(f"{what}; give shorter histories")
        if mask is None:
            there = torch.arange(before + tokens.shape[1], device=tokens.device)
            mask = (there <= there[before:, None]).expand(len(tokens), 1, -1, -1)
        seen = torch.zeros(mask.shape, dtype=self._head.weight.dtype, device=tokens.device)
        seen = seen.masked_fill(~mask, torch.finfo(seen.dtype).min)
        cache = None if past is None else past.cache
        told = self.model.base_model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=seen,
            past_key_values=cache,
            use_cache=past is not None,
            return_dict=True,
        )
        return told.last_hidden_state

    def past(self, rows: int, room: int) -> Reading:
        """Return an empty past for so many rows, of so many tokens at most."""
        return Reading(rows, room)

    def scores(self, found: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Return the scores [..., V] of the next token from what is known; of some tokens alone if told which."""
        bias = getattr(self._head, "bias", None)
        return self.bent(F.linear(found, self._head.weight[first:end], None if bias is None else bias[first:end]))

    def bent(self, scores: Tensor) -> Tensor:
        """Return scores as the model scales and caps them."""
        scores = scores * self.scale
        return scores if self.cap is None else torch.tanh(scores / self.cap) * self.cap

    @property
    def _head(self) -> Any:
        return self.model.get_output_embeddings()

    @torch.no_grad()
    def _check(self) -> None:
        """Refuse a model whose own scores are others: one that bends them, or reads in another way."""
        was, name = self.training, type(self.model).__name__
        self.eval()
        tokens = torch.arange(6, device=self._head.weight.device)[None] % self.vocabulary
        try:
            theirs = self.model(input_ids=tokens).logits.float()
            past = self.past(1, 6)
            parts = [self.scores(self.forward(part, past=past)) for part in (tokens[:, :4], tokens[:, 4:])]
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
            raise SimenvError(f"a {name} cannot be decoded from ({type(error).__name__}: {error})") from None
        if (torch.cat(parts, dim=1).float() - theirs).abs().max() > CLOSE * theirs.abs().max().clamp(min=1):
            raise SimenvError(f"a {name} scores tokens in a way of its own, so it cannot be decoded from")
        self.train(was)


def load_pretrained(folder: Path, *, device: str = "cpu", dtype: str = "auto") -> Pretrained:
    """Return the model of a folder: from its safetensors alone, without any code that may lie beside them."""
    if not (folder / "config.json").is_file():
        raise StoreError(f"{folder}: holds no model (there is no config.json)")
    transformers_log.disable_progress_bar()
    kind = dtype if dtype == "auto" else getattr(torch, dtype)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=kind,
            generation_config=GenerationConfig(),  # so that the folder's own is not even read
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise StoreError(f"{folder}: holds no model to load ({type(error).__name__}: {error})") from None
    return Pretrained(model.to(torch.device(device)).eval())
