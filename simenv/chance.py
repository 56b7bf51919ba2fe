"""All chance, keyed by name, so that neither order nor batch nor concurrency matters.

`stream` gives a generator to draw from at leisure. `key` and `mix` are the same idea for whole
arrays: the bits for (seed, user, page, item) are a hash of these numbers and of nothing else.
"""

import hashlib

import numba
import numpy as np

from .arrays import BitArray, FloatArray, IntArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
S27, S30, S31, S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return a generator of its own for these names, whoever asks first."""
    return np.random.default_rng([seed, _digest(names)])


def key(seed: int, *names: str | int) -> np.uint64:
    """Return the bits that `mix` starts from for these names."""
    return np.uint64(_digest((seed, *names)))


def derived_seed(seed: int, *names: str | int) -> int:
    """Return a seed of its own for these names, from 0 up to 2**30."""
    return int(key(seed, *names)) % 2**30


def mix(bits: BitArray | np.uint64, part: IntArray | BitArray | int) -> BitArray:
    """Return fresh bits for each pair of old bits and a number, by broadcasting."""
    fresh: BitArray = _mix(bits, np.atleast_1d(part).astype(np.uint64))
    return fresh


def uniform(bits: BitArray) -> FloatArray:
    """Return a float64 in [0, 1) for each 64 bits."""
    return (bits >> S11) * 2.0**-53


@numba.njit(cache=True)
def mix_one(bits, part):  # type: ignore[no-untyped-def]
    """Return fresh bits for one pair, inside compiled code (the SplitMix64 finaliser)."""
    z = (np.uint64(part) * GOLDEN) ^ bits
    z = (z ^ (z >> S30)) * FIRST
    z = (z ^ (z >> S27)) * SECOND
    return z ^ (z >> S31)


@numba.njit(cache=True)
def mix_row(bits, part, count):  # type: ignore[no-untyped-def]
    """Return `mix(mix(bits, part), [0, 1, ...])` for one pair, without the cost of arrays."""
    row, inner = np.empty(count, dtype=np.uint64), mix_one(bits, part)
    for place in range(count):
        row[place] = mix_one(inner, place)
    return row


@numba.vectorize(["uint64(uint64, uint64)"], cache=True)
def _mix(bits, part):  # type: ignore[no-untyped-def]
    return mix_one(bits, part)


def _digest(names: tuple[str | int, ...]) -> int:
    digest = hashlib.blake2b(repr(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
