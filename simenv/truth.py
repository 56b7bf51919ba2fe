"""What the users of a made world really like: known to the world and its bounds, to no policy."""

from dataclasses import dataclass

import numpy as np

from .arrays import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Truth:
    """Tastes and traits; whoever meets an item they like views it sooner and rates it higher."""

    tastes: FloatArray  # [U, D]
    traits: FloatArray  # [I, D]
    appeal: FloatArray  # [I], how far everybody is drawn to the item, its fame included
    quality: FloatArray  # [I], how far everybody enjoys it once viewed
    means: FloatArray  # [U], each user's middle rating
    spreads: FloatArray  # [U], how widely they rate
    patience: FloatArray  # [U], 0 for the usual, 1 for a patient user
    noise: float = 0.8  # of a rating, in units of the user's spread
    draw: float = -1.2  # of an item without appeal or relevance, on the scale of log-odds

    def relevance(self, users: IntArray) -> FloatArray:
        """Return how well each item suits each user: [B, I], 0 for neither here nor there.

        Summed one trait after the other, so that a user's digits are the same in every company.
        """
        suits = np.zeros((len(users), len(self.traits)), dtype=np.float32)
        for taste, trait in zip(self.tastes[users].T, self.traits.T, strict=True):
            suits += taste[:, None] * trait
        return suits

    def likes(self, users: IntArray, from_rating: float = 3.5) -> FloatArray:
        """Return how likely each user, looking at each item, is to view and like it: [B, I]."""
        relevance = self.relevance(users)
        views = _share(relevance + self.appeal + self.draw)
        joy = self.means[users, None] + self.spreads[users, None] * (0.6 * relevance + self.quality)
        scale = self.spreads[users, None] * self.noise * np.sqrt(3) / np.pi
        return views * _share((joy - from_rating) / scale)


def _share(logit: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-logit))
