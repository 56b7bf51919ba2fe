"""What users would do with items one by one, outside of any session."""

from dataclasses import dataclass

import numpy as np

from .arrays import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What users would do with items, pair by pair."""

    wanted: FloatArray  # [N], from 0 to 1: the chance that the user would choose the item rather than pass it over
    ratings: FloatArray  # [N], the rating that he would give, drawn as he gives them; NaN where he gives none
    expected: FloatArray  # [N], the mean of such ratings

    @property
    def chosen(self) -> BoolArray:
        """Whether the item would sooner be chosen than not."""
        return np.asarray(self.wanted >= 0.5)
