"""UniSRec: a sequence model whose items are their texts, so that it can be taken to another catalogue (Hou 2022)."""

from typing import Any

import numpy as np

from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_whole

from .texts import TextSequences

import torch  # isort: skip  (after the sequences, which say how to install it)
from torch import Tensor, nn


class UniSRec(TextSequences):
    """Tells the next item by its text: whitened, then mixed by a few experts, then read in order as SASRec does.

    With `identities` every item also has a vector of its own: stronger at home, of no use elsewhere.
    """

    shape = (*TextSequences.shape, "experts")

    def __init__(self, *, experts: int = 4, identities: bool = False, **options: Any) -> None:
        check_whole(experts=experts)
        super().__init__(**options)
        if identities and not self.epochs:
            raise SimenvError("identities of items are learnt at home; with epochs 0 give identities: false")
        self.experts = experts
        self.identities = identities

    def items_of(self, dataset: Dataset) -> nn.Module:
        """Return the experts, over this catalogue's texts."""
        texts = torch.from_numpy(self.texts_of(dataset))
        return Experts(texts, self.dimensions, self.experts, self.identities)


class Experts(nn.Module):
    """Gives items vectors by their texts."""

    def __init__(self, texts: Tensor, dimensions: int, experts: int, identities: bool) -> None:
        super().__init__()
        self.texts: Tensor
        self.register_buffer("texts", texts, persistent=False)
        size = texts.shape[1]
        self.shift = nn.Parameter(torch.zeros(experts, 1, size))
        self.turn = nn.Parameter(torch.randn(experts, size, dimensions) * 0.02 * np.sqrt(size))
        self.gate = nn.Linear(size, experts)
        self.own = nn.Embedding(len(texts), dimensions) if identities else None
        if self.own is not None:
            nn.init.normal_(self.own.weight, std=0.02)

    def forward(self, items: Tensor) -> Tensor:
        """Return [..., D] for the numbers of items; each is worked out once, however often it comes."""
        alone, places = torch.unique(items, return_inverse=True)
        texts = self.texts[alone]
        told = torch.bmm(texts - self.shift, self.turn)  # [experts, N, D]
        found = torch.einsum("ne,end->nd", self.gate(texts).softmax(dim=1), told)
        if self.own is not None:
            found = found + self.own(alone)
        return found[places]
