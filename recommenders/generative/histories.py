"""Training rows as histories to learn the next item from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from simenv.arrays import GradeArray, IntArray
from simenv.dataset import Dataset, grades_of
from simenv.interactions import Interactions
from simenv.language.model import CausalModel
from simenv.pages import EMPTY

from ..sequences import Stretches, stretches
from .packing import Spans
from .prompting import Prompting

import torch  # isort: skip  (after the model, which says how to install it)
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """Pieces of all histories, of at most `window` items to tell each."""

    log: Interactions
    grades: GradeArray  # of each row
    pieces: Stretches  # of rows, by their numbers: what became of each is told with it

    @staticmethod
    def of(dataset: Dataset, window: int) -> Histories:
        """Return the histories of a data set."""
        log = dataset.interactions
        pieces = replace(stretches(dataset, window), items=np.arange(len(log)))
        return Histories(log, grades_of(log.ratings), pieces)

    def __len__(self) -> int:
        return len(self.pieces.starts)

    def batches(self, positions: int, rng: np.random.Generator) -> Iterator[IntArray]:
        """Yield all pieces as rows [B, L], EMPTY after the end, about so many items to tell at a time."""
        yield from self.pieces.batches(positions, rng)

    def written(self, prompting: Prompting, laid: IntArray) -> tuple[Tensor, Tensor]:
        """Return pieces of rows [B, L] in tokens, and which of these are to be told."""
        items = np.where(laid == EMPTY, EMPTY, self.log.items[laid])
        users = None if prompting.users is None else self.log.users[laid[:, 0]]
        tokens, lengths = map(torch.from_numpy, prompting.written(items, self.grades[laid], users))
        there = torch.arange(tokens.shape[1]) < lengths[:, None]
        return tokens, there & prompting.names_items(tokens)


def unlikelihood(
    model: CausalModel,
    tokens: Tensor,
    wanted: Tensor,
    spans: Spans | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the mean cross-entropy of the wanted of some tokens [B, L].

    Each is told among those of its own of some `spans`, which hold all that is wanted; or among the whole vocabulary.
    """
    told = tokens[:, 1:][wanted[:, 1:]]
    found = model.forward(tokens[:, :-1])[wanted[:, 1:]]
    if spans is None:
        return F.cross_entropy(model.scores(found), told, label_smoothing=smoothing)
    total = found.new_zeros(())
    for first, end in spans:
        here = (told >= first) & (told < end)
        scores = model.scores(found[here], first, end)
        total = total + F.cross_entropy(scores, told[here] - first, reduction="sum", label_smoothing=smoothing)
    return total / len(told)
