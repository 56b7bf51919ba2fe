"""Made-up preferences for a benchmark: prompts of one length, and after each a chosen answer and rejected ones.

Runs in every peer's own environment, so it needs nothing but NumPy.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

END = 0  # ends every answer
STEPS, BATCH, BETA, RATE = 4, 16, 0.1, 1e-5  # steps a unit, pairs a step, and how both sides learn
MODEL, PAIRS = "model", "pairs.npz"  # where they lie in the folder that workers run in


@dataclass(frozen=True, eq=False)
class Pairs:
    """Prompts and their answers in tokens, the chosen answer first."""

    prompts: NDArray[np.int64]  # [N, P]
    answers: NDArray[np.int64]  # [N, M, T]


def drawn(vocabulary: int, prompt: int, answer: int, many: int, rejected: int) -> Pairs:
    """Return so many prompts, each with a chosen answer and some rejected."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(1, vocabulary, (many, prompt))
    answers = rng.integers(1, vocabulary, (many, 1 + rejected, answer))
    answers[:, :, -1] = END
    return Pairs(prompts, answers)


def save(pairs: Pairs, path: Path) -> None:
    """Write them where every worker finds them."""
    np.savez(path, **asdict(pairs))


def load(path: Path) -> Pairs:
    """Read them back."""
    with np.load(path) as file:
        return Pairs(file["prompts"], file["answers"])
