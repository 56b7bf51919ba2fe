"""A small causal language model in plain torch, of the Llama kind, so that any tool which loads those loads it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from simenv.errors import MissingExtra, SimenvError, StoreError
from simenv.options import check_whole

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file
    from torch import Tensor, nn
    from torch.nn import functional as F
except ImportError:
    raise MissingExtra("a language model", "torch") from None

CONFIG, WEIGHTS = "config.json", "model.safetensors"
BASE = 10_000.0  # of the turning positions
SMALLEST = 1e-6  # added to a mean square before its root


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a model is."""

    vocabulary: int
    dimensions: int = 128
    layers: int = 2
    heads: int = 4
    width: int = 0  # of the inner layers; 0: four times the dimensions less a third, as Llama has it
    context: int = 1024  # tokens that it may ever read at once

    def __post_init__(self) -> None:
        check_whole(vocabulary=self.vocabulary, dimensions=self.dimensions, layers=self.layers, heads=self.heads)
        check_whole(least=0, width=self.width)
        check_whole(context=self.context)
        if self.dimensions % (2 * self.heads):
            what = f"dimensions is {self.dimensions} and heads {self.heads}"
            raise SimenvError(f"{what}; the first must be an even multiple of the second")

    @property
    def inner(self) -> int:
        """Return the width of the inner layers."""
        return self.width or -(-8 * self.dimensions // 3 // 16) * 16


class Past:
    """What a model has read so far: the keys and values of each layer, with room for more."""

    def __init__(self, rows: int, room: int) -> None:
        self.rows, self.room, self.length = rows, room, 0
        self._layers: list[tuple[Tensor, Tensor]] = []

    def grow(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values [B, H, L, D/H] of what is read now; return all."""
        if layer == len(self._layers):
            shape = (self.rows, keys.shape[1], self.room, keys.shape[3])
            self._layers.append((keys.new_empty(shape), keys.new_empty(shape)))
        held_keys, held_values = self._layers[layer]
        end = self.length + keys.shape[2]
        held_keys[:, :, self.length : end] = keys
        held_values[:, :, self.length : end] = values
        return held_keys[:, :, :end], held_values[:, :, :end]


class Llama(nn.Module):
    """Reads tokens in their order; tells at each place how likely each token comes next."""

    cosines: Tensor
    sines: Tensor

    def __init__(self, shape: Shape, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.table = nn.Embedding(shape.vocabulary, shape.dimensions)
        self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.last = nn.RMSNorm(shape.dimensions, eps=SMALLEST)
        self.dropout = nn.Dropout(dropout)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:  # the usual 0.02 suits thousands of dimensions: in a hundred nothing would stand out
                deep = math.sqrt(2 * shape.layers) if name.endswith(("join.weight", "narrow.weight")) else 1.0
                nn.init.normal_(weight, std=1 / (deep * math.sqrt(weight.shape[1])))
        cosines, sines = _turns(shape)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)

    @property
    def vocabulary(self) -> int:
        """Return how many tokens it knows."""
        return self.shape.vocabulary

    def forward(
        self, tokens: Tensor, *, positions: Tensor | None = None, mask: Tensor | None = None, past: Past | None = None
    ) -> Tensor:
        """Return what is known at each place [B, L, D] of some tokens [B, L].

        Each sees itself and those before it, unless a `mask` [B, 1, L, past and L] says what it sees (true) or not;
        `positions` [B, L] count from 0, unless told. A `past` is read as if it stood before, and grows.
        """
        before = 0 if past is None else past.length
        if positions is None:
            places = slice(before, before + tokens.shape[1])
            turns = self.cosines[places], self.sines[places]
        else:
            turns = self.cosines[positions][:, None], self.sines[positions][:, None]
        if mask is None and before:
            there = torch.arange(before + tokens.shape[1], device=tokens.device)
            mask = there <= there[before:, None]
        found = self.dropout(self.table(tokens))
        for layer, block in enumerate(self.blocks):
            found = block(found, turns, mask, past, layer)
        if past is not None:
            past.length += tokens.shape[1]
        return self.last(found)

    def past(self, rows: int, room: int) -> Past:
        """Return an empty past for so many rows, of so many tokens at most."""
        return Past(rows, room)

    def scores(self, found: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """Return the scores [..., V] of the next token from what is known; of some tokens alone if told which."""
        return F.linear(found, self.table.weight[first:end])


class Block(nn.Module):
    """Attention, then two layers with a gate; each reads a normalised copy and adds to the original."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        size = shape.dimensions
        self.heads = shape.heads
        self.before_attention = nn.RMSNorm(size, eps=SMALLEST)
        self.attend = nn.Linear(size, 3 * size, bias=False)
        self.join = nn.Linear(size, size, bias=False)
        self.before_layers = nn.RMSNorm(size, eps=SMALLEST)
        self.widen = nn.Linear(size, 2 * shape.inner, bias=False)  # the gate, then what it lets through
        self.narrow = nn.Linear(shape.inner, size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, found: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor | None, past: Past | None, layer: int
    ) -> Tensor:
        """Return [B, L, D] for [B, L, D]."""
        rows, length, size = found.shape
        asked = self.attend(self.before_attention(found)).view(rows, length, 3, self.heads, size // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4)
        query, key = _turned(query, turns), _turned(key, turns)
        if past is not None:
            key, value = past.grow(layer, key, value)
        told = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        found = found + self.dropout(self.join(told.transpose(1, 2).reshape(rows, length, size)))
        gate, let = self.widen(self.before_layers(found)).chunk(2, dim=-1)
        return found + self.dropout(self.narrow(F.silu(gate) * let))


def _turns(shape: Shape) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines [context, D/H] by which queries and keys are turned at each position."""
    size = shape.dimensions // shape.heads
    speeds = 1.0 / BASE ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size)
    angles = torch.arange(shape.context).float()[:, None] * speeds
    whole = torch.cat([angles, angles], dim=1)
    return whole.cos(), whole.sin()


def _turned(vectors: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Return vectors [B, H, L, D/H] turned by their position."""
    low, high = vectors.chunk(2, dim=-1)
    return vectors * turns[0] + torch.cat([-high, low], dim=-1) * turns[1]


NAMES = {
    "before_attention": "input_layernorm",
    "join": "self_attn.o_proj",
    "before_layers": "post_attention_layernorm",
    "narrow": "mlp.down_proj",
}
JOINED = {
    "attend": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "widen": ("mlp.gate_proj", "mlp.up_proj"),
}


def published(model: Llama) -> dict[str, Tensor]:
    """Return the weights by the names that Llama's have elsewhere."""
    told = {"model.embed_tokens.weight": model.table.weight, "model.norm.weight": model.last.weight}
    for number, block in enumerate(model.blocks):
        before = f"model.layers.{number}."
        told |= {f"{before}{theirs}.weight": getattr(block, ours).weight for ours, theirs in NAMES.items()}
        for ours, theirs_all in JOINED.items():
            parts = getattr(block, ours).weight.chunk(len(theirs_all))
            told |= {f"{before}{theirs}.weight": part for theirs, part in zip(theirs_all, parts, strict=True)}
    return {name: weight.detach().cpu().contiguous().clone() for name, weight in told.items()}


def take_published(model: Llama, weights: Mapping[str, Tensor]) -> None:
    """Take weights by those names."""
    own = {"table.weight": weights["model.embed_tokens.weight"], "last.weight": weights["model.norm.weight"]}
    for number in range(len(model.blocks)):
        before = f"model.layers.{number}."
        for ours, theirs in NAMES.items():
            own[f"blocks.{number}.{ours}.weight"] = weights[f"{before}{theirs}.weight"]
        for ours, theirs_all in JOINED.items():
            own[f"blocks.{number}.{ours}.weight"] = torch.cat([weights[f"{before}{one}.weight"] for one in theirs_all])
    model.load_state_dict(own)


def save_llama(model: Llama, folder: Path, *, ends: int, begins: int | None = None, pads: int | None = None) -> None:
    """Write a folder that transformers loads as a Llama; `ends` is the token that ends an answer."""
    shape = model.shape
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.dimensions,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.dimensions // shape.heads,
        "max_position_embeddings": shape.context,
        "hidden_act": "silu",
        "rms_norm_eps": SMALLEST,
        "rope_theta": BASE,
        "rope_parameters": {"rope_type": "default", "rope_theta": BASE},  # where transformers 5 looks for it
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": begins,
        "eos_token_id": ends,
        "pad_token_id": pads,
        "dtype": "float32",
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(published(model), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_llama(folder: Path) -> Llama:
    """Return the model of a folder that `save_llama` wrote."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        shape = Shape(
            config["vocab_size"],
            config["hidden_size"],
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["intermediate_size"],
            config["max_position_embeddings"],
        )
        model = Llama(shape)
        take_published(model, load_file(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise StoreError(f"{folder}: holds no model that simenv saved ({type(error).__name__}: {error})") from None
    return model.eval()


def about(model: Llama) -> dict[str, Any]:
    """Return how large a model is, as JSON holds it."""
    return asdict(model.shape) | {"weights": sum(weight.numel() for weight in model.parameters())}
