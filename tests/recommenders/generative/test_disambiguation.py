"""Whatever the vectors, duplicates and constants too: no two rows of codes alike, every code within its level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simenv.arrays import FloatArray
from simenv.recommenders.generative.disambiguation import collisions, told_apart
from simenv.recommenders.generative.quantisers import Quantised, balanced, even, residual, sinkhorn

VECTORS = st.integers(1, 40).flatmap(
    lambda rows: arrays(np.float32, (rows, 3), elements=st.sampled_from([-2.0, 0.0, 0.0, 0.5, 1.0, 100.0]))
)


@settings(max_examples=60, deadline=None)
@given(VECTORS, st.sampled_from(["digit", "own", "sinkhorn", "free"]), st.sampled_from([residual, balanced]))
def test_no_two_rows_are_alike(vectors: FloatArray, way: str, quantiser):
    codes, sizes = told_apart(quantiser(vectors, 3, min(4, len(vectors)), 0), way)
    assert collisions(codes) == 0
    assert ((codes >= 0) & (codes < sizes)).all()


def test_a_digit_counts_through_those_alike():
    codes, sizes = told_apart(Quantised(np.array([[1], [0], [1], [1]]), (2,), np.zeros((4, 0))), "digit")
    assert codes.tolist() == [[1, 0], [0, 0], [1, 1], [1, 2]]
    assert sizes == (2, 3)


def test_a_token_of_its_own_ends_every_row():
    codes, sizes = told_apart(Quantised(np.array([[1], [0], [1]]), (2,), np.zeros((3, 0))), "own")
    assert codes.tolist() == [[1, 0], [0, 1], [1, 2]]
    assert sizes == (2, 3)
    for codes in ([[2], [0], [1]], [[0, 1], [0, 2], [1, 0]]):  # of which the last is each row's own already
        alone = Quantised(np.array(codes), (3,) * len(codes[0]), np.zeros((3, 0)))
        assert told_apart(alone, "own")[0].tolist() == codes


def test_the_one_farther_from_its_centre_moves_to_the_nearest_free():
    """Of the two at code 0 the second is off; 1 is nearest but taken, so it goes to 2."""
    book = np.array([[0.0], [1.0], [2.0], [9.0]])
    vectors = np.array([[0.1], [0.4], [1.0]])
    codes, _ = told_apart(Quantised(np.array([[0], [0], [1]]), (4,), vectors, (book,)), "free")
    assert codes.tolist() == [[0], [2], [1]]


def test_where_a_prefix_is_full_the_code_before_moves():
    books = (np.array([[0.0], [5.0], [50.0]]), np.array([[0.0], [1.0]]))
    codes, _ = told_apart(Quantised(np.zeros((3, 2), dtype=int), (3, 2), np.zeros((3, 1)), books), "free")
    assert codes.tolist() == [[0, 0], [0, 1], [1, 0]]


def test_sinkhorn_spreads_what_is_alike_over_the_level():
    """Four between two centres: the two that lean to each keep to it."""
    apart = np.array([[0.0, 1.0], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7]])
    assert sinkhorn(apart, 0.003).argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert even(apart).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("count", [1, 5, 8])
def test_a_plan_gives_every_code_as_much(count: int):
    plan = sinkhorn(np.random.default_rng(0).random((count, 3)), 0.5)
    assert plan.sum(axis=0) == pytest.approx(np.full(3, 1 / 3), rel=1e-3)
