"""Ratings as agents give and hear them, from 1 to 5, and as the data hold them."""

from dataclasses import dataclass

import numpy as np

from simenv.arrays import FloatArray
from simenv.dataset import Dataset

LEAST, MOST = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class Stars:
    """The data's own scale, from its lowest rating to its highest; NaN where nothing is rated."""

    low: float
    high: float

    def of(self, ratings: FloatArray) -> FloatArray:
        """Return ratings of the data as stars."""
        if (self.low, self.high) == (LEAST, MOST) or not self.high > self.low:
            return ratings
        return LEAST + (ratings - self.low) / (self.high - self.low) * (MOST - LEAST)

    def back(self, stars: FloatArray) -> FloatArray:
        """Return stars on the data's own scale; nothing where the data have no ratings."""
        if np.isnan(self.low):
            return np.full_like(stars, np.nan)
        if (self.low, self.high) == (LEAST, MOST):
            return stars
        return self.low + (stars - LEAST) / (MOST - LEAST) * (self.high - self.low)


def stars_of(dataset: Dataset) -> Stars:
    """Return the scale of a data set's ratings."""
    known = dataset.interactions.ratings[np.isfinite(dataset.interactions.ratings)]
    return Stars(float(known.min()), float(known.max())) if len(known) else Stars(np.nan, np.nan)
