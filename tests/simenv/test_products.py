"""Products are summed as a plain loop sums them, whatever stands beside a row and whatever computes it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from simenv.arrays import FloatArray
from simenv.products import COLUMNS, NARROW, ROWS, product

PRINT = """
import hashlib
import numpy as np
from simenv.products import product
rng = np.random.default_rng(0)
digest = hashlib.sha256()
for kind in (np.float32, np.float64):
    for rows, size, columns in ((50, 33, 700), (9, 64, 3000), (300, 70, 24), (1, 5, 1)):
        left, right = rng.normal(size=(rows, size)).astype(kind), rng.normal(size=(size, columns)).astype(kind)
        digest.update(product(left, right).tobytes())
print(digest.hexdigest())
"""


def summed_one_by_one(left: FloatArray, right: FloatArray) -> FloatArray:
    """Return the product by the order that is promised: the inner dimension's places, one after the other."""
    total = np.zeros((len(left), right.shape[1]), dtype=left.dtype)
    for place in range(left.shape[1]):
        total += left[:, place, None] * right[place]
    return total


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "size", "columns"),
    [
        *((rows, 33, 70) for rows in (1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS)),
        *((20, size, 100) for size in (0, 1, 3, 4, 5, 600)),
        *((5, 9, columns) for columns in (0, 1, 31, COLUMNS - 1, COLUMNS, COLUMNS + 1, 2 * COLUMNS + 7)),
        *((NARROW + 1, 40, columns) for columns in (1, 24, NARROW - 1, NARROW)),
    ],
)
def test_a_product_is_what_a_plain_loop_gives(rows: int, size: int, columns: int, kind: type):
    """To the last bit, in either precision, in either order of memory."""
    rng = np.random.default_rng(rows + size + columns)
    left, right = rng.normal(size=(rows, size)).astype(kind), rng.normal(size=(size, columns)).astype(kind)
    wanted = summed_one_by_one(left, right)
    for one in (left, np.asfortranarray(left)):
        for other in (right, np.asfortranarray(right)):
            found = product(one, other)
            assert found.dtype == kind
            assert np.array_equal(found, wanted)
            assert np.allclose(found, left @ right, atol=1e-3)


def test_whole_numbers_are_multiplied_as_single_precision_and_mixed_ones_as_the_finer():
    assert product(np.array([[1, 2]]), np.array([[3], [4]])).tolist() == [[11.0]]
    assert product(np.ones((1, 2), np.float32), np.ones((2, 1), np.float64)).dtype == np.float64


@pytest.mark.parametrize("processor", ["x86-64", "haswell", "skylake-avx512"])
def test_every_processor_gives_the_same_bits(processor: str):
    """The loops are compiled for another processor, without or with FMA and wide registers, and run here."""
    here = digest_with({})
    there = digest_with({"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""})
    assert here == there


def digest_with(settings: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", PRINT], env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
