"""Histories cut into stretches to learn the next item from, and laid into batches of like length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from simenv.arrays import IntArray
from simenv.dataset import Dataset
from simenv.pages import EMPTY


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Pieces of histories: each place's item is to be told from those before it in the piece."""

    items: IntArray  # all histories, one after the other
    starts: IntArray  # [S], where a piece begins
    lengths: IntArray  # [S], at least 2

    def batches(self, positions: int, rng: np.random.Generator) -> Iterator[IntArray]:
        """Yield the pieces as [rows, longest], EMPTY after the end, about so many places to tell at a time.

        Pieces of like length come together, so that little is left empty; which ones, and when, is drawn.
        """
        order = rng.permutation(len(self.starts))
        order = order[np.argsort(self.lengths[order], kind="stable")]
        cells = np.cumsum(self.lengths[order])
        cuts = np.searchsorted(cells, np.arange(positions, cells[-1] if len(cells) else 0, positions))
        groups = [group for group in np.split(order, cuts) if len(group)]
        for number in rng.permutation(len(groups)):
            group = groups[number]
            yield _lay(self.items, self.starts[group], self.lengths[group])


def stretches(dataset: Dataset, window: int) -> Stretches:
    """Cut each history, from its end, into pieces of at most `window` items to tell; the last may be short."""
    counts = np.diff(dataset.starts)
    pieces = -(-(np.maximum(counts - 1, 0)) // window)
    owner = np.repeat(np.arange(len(counts)), pieces)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    ends = dataset.starts[1:][owner] - place * window
    starts = np.maximum(dataset.starts[:-1][owner], ends - window - 1)
    return Stretches(dataset.interactions.items, starts, ends - starts)


@numba.njit(cache=True)
def _lay(items, starts, lengths):  # type: ignore[no-untyped-def]
    laid = np.full((len(starts), lengths.max()), EMPTY, dtype=np.int64)
    for row in range(len(starts)):
        for place in range(lengths[row]):
            laid[row, place] = items[starts[row] + place]
    return laid
