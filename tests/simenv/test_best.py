"""The best few are what plain sorting would give, whichever way they are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from simenv.arrays import FloatArray, IntArray
from simenv.best import best_of, best_products
from simenv.pages import EMPTY
from simenv.products import ROWS, product

NOTHING = (np.zeros(1000, dtype=np.int64), np.empty(0, dtype=np.int32))  # nothing is left out
# Up to k = 41 of the thousand items are found by stretches, more of them by going through them all.
SIZES = [(1, 1), (5, 2), (23, 1), (24, 1), (25, 1), (100, 3), (1000, 1), (1000, 10), (1000, 41), (1000, 42)]
SIZES += [(1000, 999), (1000, 1000), (1000, 1005), (4999, 26), (5000, 26), (7, 0)]


def sorted_out(scores: FloatArray, k: int) -> IntArray:
    """Return what sorting everything gives: best first, the lower item among equals, never minus infinity or NaN."""
    page = np.full((len(scores), k), EMPTY, dtype=np.int32)
    for row, mine in enumerate(scores.tolist()):
        best = sorted((-score, item) for item, score in enumerate(mine) if score > -np.inf)
        page[row, : len(best)] = [item for _, item in best[:k]]
    return page


def drawn_scores(rows: int, items: int, levels: int, seed: int) -> FloatArray:
    """Return scores of few levels, so that many are equal, some of them plus or minus infinity or NaN."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(rows, items)).astype(np.float32)
    for row, share in enumerate(rng.choice([0, 0.05, 0.5, 0.98, 1.0], size=rows)):  # of some rows little is left
        gone = rng.random(items) < share
        scores[row, gone] = rng.choice(np.array([-np.inf, np.nan], dtype=np.float32), size=int(gone.sum()))
    scores[rng.random((rows, items)) < 0.002] = np.inf
    return scores


@pytest.mark.parametrize(("items", "k"), SIZES)
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_the_best_are_what_sorting_gives(items: int, k: int, levels: int):
    scores = drawn_scores(30, items, levels, seed=items + k)
    assert best_of(scores.copy(), k).tolist() == sorted_out(scores, k).tolist()


@given(arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 200)), fill=st.nothing()), st.integers(1, 9))
def test_any_scores_are_sorted(scores: FloatArray, k: int):
    assert best_of(scores.copy(), k).tolist() == sorted_out(scores, k).tolist()


@pytest.mark.parametrize("place", [0, 62, 63, 64, 127, 991, 992, 998, 999])
def test_a_single_score_is_found_wherever_it_stands(place: int):
    """By stretches too, the last of which is longer than the others."""
    scores = np.full((1, 1000), -np.inf, dtype=np.float32)
    scores[0, place] = -1e30
    assert best_of(scores.copy(), 3).tolist() == [[place, EMPTY, EMPTY]]
    scores[np.isinf(scores)] = np.nan
    assert best_of(scores, 3).tolist() == [[place, EMPTY, EMPTY]]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_scores_of_either_precision_are_taken_as_they_lie(kind: type):
    scores = drawn_scores(20, 300, 50, seed=1).astype(kind)
    wanted = sorted_out(scores, 4).tolist()
    assert best_of(np.asfortranarray(scores), 4).tolist() == wanted
    assert best_of(scores, 4).tolist() == wanted


def test_double_precision_tells_apart_what_single_does_not():
    assert best_of(np.array([[1.0, 1.0 + 1e-12, 1.0 - 1e-12]]), 3).tolist() == [[1, 0, 2]]


def whole_products(rows: int, items: int, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return vectors, a table and offsets of small whole numbers, whose products are exact and often equal."""
    rng = np.random.default_rng(seed)
    vectors, table = (rng.integers(-2, 3, size=(count, 4)).astype(np.float32) for count in (rows, items))
    return vectors, table, rng.integers(3, size=items).astype(np.float32)


def ragged(rows: int, items: int, seed: int) -> tuple[IntArray, IntArray]:
    """Return what is left out: of some users nothing, of others a lot, some of it twice."""
    rng = np.random.default_rng(seed)
    counts = rng.choice([0, 1, items // 2, 2 * items], size=rows)
    return np.concatenate([[0], np.cumsum(counts)]), rng.integers(items, size=counts.sum()).astype(np.int32)


def out_of_bounds(scores: FloatArray, left_out: tuple[IntArray, IntArray], candidates: IntArray | None) -> FloatArray:
    starts, items = left_out
    for row in range(len(scores)):
        if candidates is not None:
            allowed = set(candidates[row].tolist())
            scores[row, [item for item in range(scores.shape[1]) if item not in allowed]] = -np.inf
        scores[row, items[starts[row] : starts[row + 1]]] = -np.inf
    return scores


@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS, 2 * ROWS + 3])
@pytest.mark.parametrize(("items", "k"), [(1, 1), (9, 4), (200, 1), (200, 5), (200, 200), (3000, 10), (3, 5)])
@pytest.mark.parametrize("width", [None, 0, 1, 60])
def test_the_best_products_are_what_sorting_gives(rows: int, items: int, k: int, width: int | None):
    vectors, table, offsets = whole_products(rows, items, seed=items + k)
    left_out = ragged(rows, items, seed=rows)
    candidates = None
    if width is not None:  # some stand twice, some places are empty
        candidates = np.random.default_rng(width).integers(EMPTY, items, size=(rows, width)).astype(np.int32)
    wanted = sorted_out(out_of_bounds(vectors @ table.T + offsets, left_out, candidates), k)

    assert best_products(vectors, table, offsets, left_out, candidates, k).tolist() == wanted.tolist()
    turned = np.asfortranarray(table)
    assert best_products(vectors, turned, offsets, left_out, candidates, k).tolist() == wanted.tolist()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_product_that_is_no_number_is_never_chosen():
    table = np.array([[1], [np.nan], [3], [-np.inf], [2]], dtype=np.float32)
    found = best_products(np.ones((1, 1), np.float32), table, np.zeros(5), NOTHING, None, 5)
    assert found.tolist() == [[2, 4, 0, EMPTY, EMPTY]]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_no_number_hides_no_other_item():
    """Wherever it stands in a long row, which is gone through by stretches."""
    table = np.ones((1000, 1), dtype=np.float32)
    table[::8], table[5] = np.nan, 2
    found = best_products(np.ones((1, 1), np.float32), table, np.zeros(1000), NOTHING, None, 3)
    assert found.tolist() == [[5, 1, 2]]


def test_where_nothing_can_be_multiplied_the_offsets_decide():
    found = best_products(np.zeros((3, 0)), np.zeros((4, 0)), np.array([1, 3, 0, 3]), NOTHING, None, 4)
    assert found.tolist() == [[1, 3, 0, 2]] * 3


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 50])
def test_products_do_not_depend_on_the_batch(size: int):
    """To the last bit: where offsets cancel products, nothing but rounding decides what stands first."""
    rng = np.random.default_rng(2)
    vectors, table = rng.normal(size=(50, 33)).astype(np.float32), rng.normal(size=(700, 33)).astype(np.float32)
    products = np.concatenate([product(few, table.T) for few in np.split(vectors, range(size, 50, size))])
    assert np.array_equal(products, product(vectors, table.T))

    vectors = np.tile(vectors[0], (50, 1))
    offsets = -(table.astype(np.float64) @ vectors[0]).astype(np.float32)
    batches = np.split(vectors, range(size, 50, size))
    pages = np.concatenate([best_products(few, table, offsets, NOTHING, None, 12) for few in batches])
    assert np.array_equal(pages, best_products(vectors, table, offsets, NOTHING, None, 12))
    assert np.array_equal(pages, sorted_out(product(vectors, table.T) + offsets, 12))


def test_nobody_gets_no_page():
    assert best_of(np.empty((0, 5), np.float32), 3).shape == (0, 3)
    nobody = best_products(np.empty((0, 2), np.float32), np.ones((5, 2)), np.ones(5), NOTHING, None, 3)
    assert nobody.shape == (0, 3)
