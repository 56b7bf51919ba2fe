"""Adam (Kingma 2015) for a few large arrays, in one pass over each."""

from collections.abc import Sequence

import numba
import numpy as np

from simenv.arrays import FloatArray
from simenv.store import Arrays


class Adam:
    """Changes arrays in place, against their gradients."""

    def __init__(self, arrays: Sequence[FloatArray]) -> None:
        self._arrays = list(arrays)
        self._means = [np.zeros_like(array) for array in arrays]
        self._squares = [np.zeros_like(array) for array in arrays]
        self._steps = 0

    def step(self, gradients: Sequence[FloatArray], rate: float) -> None:
        """Take a step."""
        self._steps += 1
        for array, gradient, mean, square in zip(self._arrays, gradients, self._means, self._squares, strict=True):
            _step(array, gradient, mean, square, np.float32(rate), self._steps)

    def progress(self) -> Arrays:
        """Return what it remembers."""
        kept: Arrays = {"adam.steps": np.array(self._steps)}
        for number, (mean, square) in enumerate(zip(self._means, self._squares, strict=True)):
            kept |= {f"adam.mean.{number}": mean, f"adam.square.{number}": square}
        return kept

    def resume(self, arrays: Arrays) -> None:
        """Take back what `progress` gave."""
        self._steps = int(arrays["adam.steps"])
        for number in range(len(self._arrays)):
            self._means[number] = arrays[f"adam.mean.{number}"]
            self._squares[number] = arrays[f"adam.square.{number}"]


@numba.njit(cache=True, parallel=True, fastmath={"contract"})
def _step(array, gradient, mean, square, rate, steps):  # type: ignore[no-untyped-def]
    first, second, small = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
    one = np.float32(1)
    whole_mean = np.float32(1 - 0.9**steps)
    whole_square = np.float32(1 - 0.999**steps)
    for row in numba.prange(len(array)):
        for place in range(array.shape[1]):
            slope = gradient[row, place]
            mean[row, place] = first * mean[row, place] + (one - first) * slope
            square[row, place] = second * square[row, place] + (one - second) * slope * slope
            root = np.sqrt(square[row, place] / whole_square) + small
            array[row, place] -= rate * (mean[row, place] / whole_mean) / root
