"""Rows of tokens to be learnt by heart or in part, and batches of those of like length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simenv.arrays import BoolArray, IntArray
from simenv.chance import stream

from .model import CausalModel


@dataclass(frozen=True, slots=True, eq=False)
class TokenRows:
    """Rows of tokens, one after the other."""

    starts: IntArray  # [N + 1]
    tokens: IntArray  # [M]
    wanted: BoolArray  # [M], whether the token is to be told from those before it; never a row's first

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> "TokenRows":
        """Return rows of what is told and then what is to be answered."""
        lengths = [len(told) + len(answer) for told, answer in rows]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        tokens = np.fromiter((token for row in rows for part in row for token in part), np.int32, int(starts[-1]))
        wanted = np.zeros(len(tokens), dtype=bool)
        for start, end, (_, answer) in zip(starts, starts[1:], rows, strict=False):
            wanted[max(end - len(answer), start + 1) : end] = True
        return cls(starts, tokens, wanted)

    def some(self, places: IntArray) -> "TokenRows":
        """Return these rows."""
        lengths = np.diff(self.starts)[places]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        taken = np.repeat(self.starts[places] - starts[:-1], lengths) + np.arange(starts[-1])
        return TokenRows(starts, self.tokens[taken], self.wanted[taken])

    def laid(self, places: IntArray) -> tuple[Tensor, Tensor]:
        """Return these rows side by side [B, L], filled up with 0 at their ends, and which tokens are wanted."""
        lengths = np.diff(self.starts)[places]
        there = np.arange(lengths.max(initial=0)) < lengths[:, None]
        some = self.some(places)
        tokens, wanted = np.zeros(there.shape, dtype=np.int64), np.zeros(there.shape, dtype=bool)
        tokens[there], wanted[there] = some.tokens, some.wanted
        return torch.from_numpy(tokens), torch.from_numpy(wanted)

    def batches(self, tokens: int, rng: np.random.Generator | None) -> Iterator[IntArray]:
        """Yield the places of rows of like length, of so many tokens in all, in an order by chance if any."""
        lengths = np.diff(self.starts)
        noise = rng.random(len(lengths)) if rng is not None else np.zeros(len(lengths))
        order = np.lexsort((noise, lengths))
        cuts, first = [0], 0
        for place in range(len(order)):
            if (place - first + 1) * lengths[order[place]] > tokens and place > first:
                cuts.append(place)
                first = place
        chunks = np.split(order, cuts[1:])
        for chunk in rng.permutation(len(chunks)) if rng is not None else range(len(chunks)):
            if len(chunks[chunk]):
                yield chunks[chunk]


class Reading:
    """The task of telling the wanted tokens of rows."""

    def __init__(self, model: CausalModel, rows: TokenRows, *, batch_tokens: int = 8192, seed: int = 0) -> None:
        self.model, self.rows, self.batch_tokens, self.seed = model, rows, batch_tokens, seed

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has."""
        return sum(1 for _ in self.rows.batches(self.batch_tokens, None))

    def batches(self, epoch: int) -> Iterator[IntArray]:
        """Yield an epoch's batches."""
        return self.rows.batches(self.batch_tokens, stream(self.seed, "batches", epoch))

    def loss(self, batch: IntArray) -> tuple[Tensor, int]:
        """Return the mean cross-entropy of a batch's wanted tokens, and how many these are."""
        tokens, wanted = self.rows.laid(batch)
        found = self.model.forward(tokens[:, :-1])[wanted[:, 1:]]
        return F.cross_entropy(self.model.scores(found), tokens[:, 1:][wanted[:, 1:]]), int(wanted.sum())


@torch.no_grad()
def unlikelihood(model: CausalModel, rows: TokenRows, batch_tokens: int = 8192) -> float:
    """Return the mean cross-entropy of all wanted tokens."""
    task = Reading(model, rows, batch_tokens=batch_tokens)
    losses = [task.loss(batch) for batch in rows.batches(batch_tokens, None)]
    count = sum(size for _, size in losses)
    return float(sum(float(loss) * size for loss, size in losses)) / max(count, 1)
