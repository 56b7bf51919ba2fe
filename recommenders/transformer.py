"""A causal transformer over items: the trunk that the sequence policies share."""

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.errors import MissingExtra
from simenv.pages import EMPTY

try:
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F
except ImportError:
    raise MissingExtra("a sequence model", "torch") from None

TOGETHER = 32  # histories that are read at once when pages are filled, never more or fewer
STEPS = (8, 32, 128)  # the lengths that histories are filled up to, besides the window itself


class Trunk(nn.Module):
    """Reads item vectors in their order; gives, at each place, a vector that the next item's should be near to."""

    def __init__(self, dimensions: int, layers: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        self.places = nn.Embedding(window, dimensions)
        self.blocks = nn.ModuleList(Block(dimensions, heads, dropout) for _ in range(layers))
        self.last = nn.LayerNorm(dimensions)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return [B, L, D] for [B, L, D]; what comes after the end of a history changes nothing before it."""
        found = self.dropout(vectors + self.places.weight[: vectors.shape[1]])
        for block in self.blocks:
            found = block(found)
        return self.last(found)


class Block(nn.Module):
    """Causal attention, then two layers at each place; each reads a normalised copy and adds to the original."""

    def __init__(self, dimensions: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(dimensions)
        self.attend = nn.Linear(dimensions, 3 * dimensions)
        self.join = nn.Linear(dimensions, dimensions)
        self.before_layers = nn.LayerNorm(dimensions)
        self.widen = nn.Linear(dimensions, 4 * dimensions)
        self.narrow = nn.Linear(4 * dimensions, dimensions)
        self.dropout = nn.Dropout(dropout)

    def forward(self, found: Tensor) -> Tensor:
        """Return [B, L, D] for [B, L, D]."""
        rows, length, size = found.shape
        asked = self.attend(self.before_attention(found)).view(rows, length, 3, self.heads, size // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4)
        told = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        found = found + self.dropout(self.join(told.transpose(1, 2).reshape(rows, length, size)))
        return found + self.dropout(self.narrow(F.gelu(self.widen(self.before_layers(found)), approximate="tanh")))


def read_histories(trunk: Trunk, table: Tensor, histories: IntArray) -> FloatArray:
    """Return the vector at the end of each history [B, D]; histories [B, L] end at the right, EMPTY before.

    Always as many histories at once, filled up to one of a few lengths, so that a user's vector does not depend
    on the batch: the library sums one shape in one order. Zero for an empty history.
    """
    window = histories.shape[1]
    lengths = (histories != EMPTY).sum(axis=1)
    found = np.zeros((len(histories), table.shape[1]), dtype=np.float32)
    before = 0
    for size in [*(step for step in STEPS if step < window), window]:
        rows = np.flatnonzero((lengths > before) & (lengths <= size))
        before = size
        for first in range(0, len(rows), TOGETHER):
            few = rows[first : first + TOGETHER]
            ragged = histories[few, window - size :]
            laid = np.zeros((TOGETHER, size), dtype=np.int64)
            for place, row in enumerate(ragged):
                known = row[row != EMPTY]
                laid[place, : len(known)] = known
            read = trunk(table[torch.from_numpy(laid)])
            ends = torch.from_numpy(lengths[few] - 1)
            found[few] = read[torch.arange(len(few)), ends].numpy()
    return found
