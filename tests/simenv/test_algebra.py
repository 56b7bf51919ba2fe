"""Our own linear algebra finds what LAPACK finds."""

import numpy as np
import pytest
from scipy import sparse

from simenv.algebra import eigen, leading, orthonormal, solve, solve_each

SIZES = [1, 2, 9, 40]


@pytest.mark.parametrize("size", SIZES)
def test_systems_and_eigenvalues_are_lapacks(size: int):
    rng = np.random.default_rng(size)
    squares = np.stack([np.eye(size) + part.T @ part for part in rng.normal(size=(3, size + 2, size))])
    sides = rng.normal(size=(3, size))
    assert np.allclose(solve(squares[0], sides.T), np.linalg.solve(squares[0], sides.T))
    assert np.allclose(solve_each(squares, sides), np.linalg.solve(squares, sides[:, :, None])[:, :, 0])
    values, vectors = eigen(squares[0])
    assert np.allclose(values, np.linalg.eigvalsh(squares[0]))
    assert np.allclose(vectors * values @ vectors.T, squares[0])


def test_columns_become_orthonormal_and_one_that_adds_nothing_is_nought():
    columns = np.random.default_rng(0).normal(size=(30, 6))
    columns[:, 4] = columns[:, 0] - 2 * columns[:, 1]
    found = orthonormal(columns)
    assert np.allclose(found.T @ found, np.diag([1, 1, 1, 1, 0, 1]))
    assert np.allclose(found @ (found.T @ columns), columns)


@pytest.mark.parametrize("rank", [1, 5, 40])
def test_leading_directions_are_those_of_the_singular_values(rank: int):
    matrix = sparse.random_array((60, 40), density=0.2, rng=np.random.default_rng(0), format="csr")
    left, values, right = np.linalg.svd(matrix.toarray(), full_matrices=False)
    found = leading(matrix, rank, rounds=9)
    assert np.allclose(found.values, values[:rank])
    assert np.allclose((found.left * found.values) @ found.right.T, (left[:, :rank] * values[:rank]) @ right[:rank])
