"""A checkpoint of transformers that learns new tokens, with a little learnt beside each of its layers (LoRA)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from simenv.errors import MissingExtra, SimenvError

try:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch import Tensor, nn
    from torch.nn import functional as F
except ImportError:
    raise MissingExtra("a checkpoint as a recommender", "hf") from None

from .pretrained import Pretrained, load_pretrained

FORGETS = 0.05  # of what is learnt beside the layers, dropped by chance while it learns
APART = 0.1  # how far new rows lie from the mean of the old at first, in parts of how far those do


class Widened(Pretrained):
    """Reads a checkpoint's first tokens and then `count` of ours; what is learnt is all that it shows as parameters.

    Our tokens' rows are learnt, and beside each layer as much as `rank` says; at 0 all weights are. Where our tokens
    are `known` the checkpoint has rows for them, else they begin near the mean of its own.
    """

    def __init__(self, checkpoint: Pretrained, first: int, count: int, rank: int, *, known: bool = False) -> None:
        super().__init__(checkpoint.model)
        model = self.model
        table, head = model.get_input_embeddings(), model.get_output_embeddings()
        if first > len(table.weight):
            raise SimenvError(f"its tokenizer knows {first:,} tokens and its table {len(table.weight):,}; take another")
        self.first, self.rank = first, rank
        self.tied = head.weight is table.weight
        self.whole: Any = model
        if rank:
            beside = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=FORGETS, target_modules="all-linear")
            try:
                self.whole = get_peft_model(model, beside)
            except ValueError as error:
                raise SimenvError(f"nothing can be learnt beside the layers of this model: {error}") from None
        self.rows = nn.Parameter(_more(table.weight, first, count, known))
        self.head_rows = self.rows if self.tied else nn.Parameter(_more(head.weight, first, count, known))
        bias = getattr(head, "bias", None)
        of = slice(first, first + count) if known else slice(first)
        self.bias = None if bias is None else float(bias[of].detach().mean())  # one for all of ours, not learnt
        model.set_input_embeddings(Rows(table, first, self.rows))
        self.vocabulary = first + count
        self._learnt = {name for name, weight in super().named_parameters() if weight.requires_grad}

    def scores(self, found: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Return the scores [..., V] of the next token from what is known; of some tokens alone if told which."""
        end = self.vocabulary if end is None else end
        parts = []
        if first < self.first:
            parts.append(super().scores(found, first, min(end, self.first)))
        if end > self.first:
            told = F.linear(found, self.head_rows[max(first - self.first, 0) : end - self.first])
            parts.append(self.bent(told if self.bias is None else told + self.bias))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def named_parameters(self, *args: Any, **options: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what is learnt, and nothing else of the checkpoint."""
        return ((name, weight) for name, weight in super().named_parameters(*args, **options) if name in self._learnt)

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return what is learnt."""
        return {name: weight.detach() for name, weight in self.named_parameters()}

    def load_state_dict(self, state_dict: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        """Take back what is learnt."""
        own = dict(self.named_parameters())
        if own.keys() != state_dict.keys():
            odd = sorted(own.keys() ^ state_dict.keys())[0]
            raise KeyError(f"{odd}: what was learnt belongs to another checkpoint or rank")
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(state_dict[name])

    def save_whole(self, folder: Path) -> None:
        """Write an ordinary checkpoint: what was learnt in its weights, our tokens' rows after its own."""
        with torch.no_grad():
            twin = copy.deepcopy(self)
            twin.model.set_input_embeddings(twin.model.get_input_embeddings().old)
            model = twin.whole.merge_and_unload() if self.rank else twin.model
            model.resize_token_embeddings(self.vocabulary, mean_resizing=False)
            model.get_input_embeddings().weight[self.first :] = self.rows
            head = model.get_output_embeddings()
            head.weight[self.first :] = self.head_rows
            if self.bias is not None:
                head.bias[self.first :] = self.bias
            model.save_pretrained(folder)

    def _check(self) -> None:
        """Do nothing: the checkpoint was checked before it was given tokens of ours."""


class Rows(nn.Module):
    """A table of embeddings whose last rows are ours."""

    def __init__(self, old: Any, first: int, rows: nn.Parameter) -> None:
        super().__init__()
        self.old, self.first, self.rows = old, first, rows
        self.scale = float(getattr(old, "embed_scale", 1.0))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the rows of some tokens."""
        ours = F.embedding((tokens - self.first).clamp(min=0), self.rows) * self.scale
        theirs = self.old(tokens.clamp(max=self.first - 1))
        return torch.where((tokens >= self.first)[..., None], ours, theirs)


def _more(weights: Tensor, first: int, count: int, known: bool) -> Tensor:
    """Return rows for our tokens."""
    with torch.no_grad():
        if known:
            return weights[first : first + count].clone()
        mean, spread = weights[:first].mean(dim=0), weights[:first].std(dim=0)
        return mean + APART * spread * torch.randn(count, weights.shape[1])


def open_widened(folder: Path, first: int, count: int, rank: int, *, known: bool = False) -> Widened:
    """Return a folder's model, ready to learn; no code of its own runs."""
    return Widened(load_pretrained(folder, dtype="float32"), first, count, rank, known=known)
