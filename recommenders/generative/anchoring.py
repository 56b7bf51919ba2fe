"""Training rows learnt beside preferences, so that what real users did next is not forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from simenv.arrays import IntArray
from simenv.chance import stream

from .histories import Histories, unlikelihood
from .preferring import Preferring

from torch import Tensor  # isort: skip  (after the model, which says how to install it)


class Anchored:
    """A task of preferences to whose every batch one of histories is added, as heavy as `weight` says."""

    def __init__(self, task: Preferring, histories: Histories, weight: float, positions: int) -> None:
        self.task, self.histories, self.weight, self.positions = task, histories, weight, positions

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has."""
        return self.task.steps

    def batches(self, epoch: int) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield an epoch's batches of offers, each with one of training rows; these begin anew where they end."""
        rows = self._rows(epoch)
        for batch in self.task.batches(epoch):
            yield batch, next(rows)

    def _rows(self, epoch: int) -> Iterator[IntArray]:
        for again in count():
            yield from self.histories.batches(self.positions, stream(self.task.seed, "anchor", epoch, again))

    def loss(self, batch: tuple[IntArray, IntArray]) -> tuple[Tensor, int]:
        """Return the loss of a batch of both."""
        offers, laid = batch
        loss, told = self.task.loss(offers)
        tokens, wanted = self.histories.written(self.task.prompting, laid)
        return loss + self.weight * unlikelihood(self.task.model, tokens, wanted, self.task.spans), told
