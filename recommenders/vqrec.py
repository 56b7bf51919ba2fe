"""VQ-Rec: a sequence model whose items are codes of their texts, each with a learnt vector (Hou 2023)."""

from typing import Any

import numpy as np

from simenv.arrays import FloatArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_whole

from .texts import TextSequences

import torch  # isort: skip  (after the sequences, which say how to install it)
from torch import Tensor, nn


class VQRec(TextSequences):
    """Tells the next item by codes of its text: one of `codes` for each of `parts` of the turned text vector.

    Items that read alike share codes, so what is learnt of one serves the other, but loosely enough not to be tied.
    """

    shape = (*TextSequences.shape, "parts", "codes")

    def __init__(self, *, parts: int = 32, codes: int = 256, **options: Any) -> None:
        check_whole(parts=parts, codes=codes)
        super().__init__(**options)
        self.parts = parts
        self.codes = codes

    def items_of(self, dataset: Dataset) -> nn.Module:
        """Return the codes' vectors, over this catalogue's texts."""
        texts = self.texts_of(dataset)
        if texts.shape[1] % self.parts:
            raise SimenvError(
                f"vqrec: the texts have {texts.shape[1]} dimensions, no multiple of the {self.parts} parts"
            )
        known = self.pretrained_arrays()
        if known:
            turn, centres = known["adaptor.turn"], known["adaptor.centres"]
        else:
            turn = _any_turn(texts.shape[1], self.seed)
            centres = _centres(_split(texts @ turn, self.parts), self.codes)
        return Codes(texts, turn, centres, self.dimensions)


class Codes(nn.Module):
    """Gives items the mean of their codes' vectors."""

    def __init__(self, texts: FloatArray, turn: FloatArray, centres: FloatArray, dimensions: int) -> None:
        super().__init__()
        parts, count, _ = centres.shape
        self.codes: Tensor
        self.register_buffer("turn", torch.from_numpy(turn))
        self.register_buffer("centres", torch.from_numpy(centres))
        self.register_buffer("codes", torch.from_numpy(_nearest(texts @ turn, centres)), persistent=False)  # [I, parts]
        self.vectors = nn.EmbeddingBag(parts * count, dimensions, mode="mean")
        nn.init.normal_(self.vectors.weight, std=0.02 * np.sqrt(parts))

    def forward(self, items: Tensor) -> Tensor:
        """Return [..., D] for the numbers of items; each is worked out once, however often it comes."""
        alone, places = torch.unique(items, return_inverse=True)
        return self.vectors(self.codes[alone])[places]


def _any_turn(size: int, seed: int) -> FloatArray:
    """Return a rotation drawn once: it spreads over all parts what the first dimensions hold."""
    turn, _ = np.linalg.qr(stream(seed, "vqrec").normal(size=(size, size)))
    return turn.astype(np.float32)


def _split(turned: FloatArray, parts: int) -> FloatArray:
    """Return [parts, I, size of a part]."""
    return np.ascontiguousarray(turned.reshape(len(turned), parts, -1).transpose(1, 0, 2))


def _centres(split: FloatArray, codes: int) -> FloatArray:
    """Return the centres of each part's clusters: [parts, codes, size of a part]."""
    from sklearn.cluster import MiniBatchKMeans

    count = min(codes, split.shape[1])
    fits = [MiniBatchKMeans(count, random_state=0, n_init=1, batch_size=4096).fit(part) for part in split]
    return np.stack([fit.cluster_centers_ for fit in fits]).astype(np.float32)


def _nearest(turned: FloatArray, centres: FloatArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the number of each item's nearest centre in each part, counted through all parts: [I, parts]."""
    parts, count, _ = centres.shape
    far = [
        (centre**2).sum(axis=1) - 2 * part @ centre.T
        for part, centre in zip(_split(turned, parts), centres, strict=True)
    ]
    return np.stack([each.argmin(axis=1) + place * count for place, each in enumerate(far)], axis=1).astype(np.int64)
