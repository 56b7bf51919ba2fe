"""The same page in the plainest NumPy: what a step must cost at least, without a framework or a feature more."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Floor:
    """Affinity of 32 dimensions, position bias, clicks, boredom by topic, a history of 50, and leaving."""

    def __init__(
        self, users: int, *, items: int = 3706, size: int = 20, dimensions: int = 32, topics: int = 20
    ) -> None:
        self.rng = np.random.default_rng(0)
        self.items = self.rng.normal(size=(items, dimensions)).astype(np.float32) / np.sqrt(dimensions)
        self.users = self.rng.normal(size=(users, dimensions)).astype(np.float32)
        self.topic = self.rng.integers(topics, size=items)
        self.position = (0.92 ** np.arange(size)).astype(np.float32)
        self.rows = np.arange(users)[:, None]
        self.bored = np.zeros((users, topics), np.float32)
        self.history = np.full((users, 50), -1)
        self.patience = np.full(users, 10.0, np.float32)

    def step(self, pages: Array) -> tuple[Array, Array]:
        """Show everybody a page and return the clicks and who leaves; somebody new takes a leaver's seat."""
        topics = self.topic[pages]
        affinity = (self.items[pages] @ self.users[:, :, None])[:, :, 0] - self.bored[self.rows, topics]
        chance = self.position / (1 + np.exp(-affinity))
        clicks = self.rng.random(chance.shape, dtype=np.float32) < chance
        self.bored *= 0.8
        np.add.at(self.bored, (self.rows, topics), 0.1 * clicks)
        self.history = np.concatenate((self.history[:, pages.shape[1] :], pages), axis=1)
        reward = clicks.sum(axis=1)
        self.patience += 0.2 * reward - 1
        leaves = self.patience < 0
        if leaves.any():
            self.patience[leaves] = 10
            self.bored[leaves] = 0
            self.history[leaves] = -1
            self.users[leaves] = self.rng.normal(size=(int(leaves.sum()), self.users.shape[1]))
        return reward, leaves
