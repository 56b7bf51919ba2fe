"""The past of a record: what its user met before, the last of it."""

import numpy as np

from simenv.arrays import IntArray
from simenv.dataset import Dataset, grades_of
from simenv.errors import DataError

from .records import Graded, begins, spread

WINDOW = 20  # items of the past, unless told


def past_of(train: Dataset, users: IntArray, window: int, ends: IntArray | None = None) -> Graded:
    """Return the last `window` training rows of each user; with `ends`, of those before these row numbers."""
    if window < 1:
        raise DataError(f"a history of {window} items; it takes at least 1")
    last = train.starts[users + 1] if ends is None else ends
    first = np.maximum(train.starts[users], last - window)
    at = spread(first, last - first)
    log = train.interactions
    return Graded(begins(last - first), log.items[at], grades_of(log.ratings)[at], log.ratings[at])
