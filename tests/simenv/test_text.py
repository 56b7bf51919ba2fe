"""Items that read alike lie near each other."""

from dataclasses import replace

import numpy as np

from simenv.catalog import Catalog
from simenv.films import films_world
from simenv.text import tfidf


def shelf(*texts: str, categories: tuple[tuple[str, ...], ...] | None = None) -> Catalog:
    count = len(texts)
    return Catalog(
        np.arange(count),
        np.array(texts, dtype=object),
        categories or ((),) * count,
        np.full(count, None, dtype=object),
        np.full(count, np.nan),
    )


def test_items_of_the_same_words_lie_together():
    catalog = shelf(*["rain ship harbour"] * 2, *["wedding comedy lies"] * 2, *["war bridge medic"] * 4)
    vectors = tfidf(catalog, 4)
    assert vectors[0] @ vectors[1] > 0.99
    assert abs(vectors[0] @ vectors[2]) < 0.01


def test_items_of_the_same_category_lie_together():
    catalog = shelf(*"abcd", categories=(("war",), ("war",), ("play",), ("play",)))
    vectors = tfidf(catalog, 2)
    assert vectors[0] @ vectors[1] > 0.99
    assert abs(vectors[0] @ vectors[2]) < 0.01


def test_one_category_for_all_is_one_direction():
    vectors = tfidf(shelf(*"abc", categories=(("war",), ("war",), ())), 8)
    assert vectors[0] @ vectors[1] > 0.99
    assert not vectors[2].any()


def test_vectors_are_of_unit_length_or_nought():
    lengths = np.linalg.norm(tfidf(films_world(40, 80).dataset.catalog, 8), axis=1)
    assert np.allclose(lengths, 1)


def test_where_nothing_is_written_all_is_nought():
    assert not tfidf(shelf(*[None] * 5), 3).any()
    assert tfidf(shelf(*[None] * 5), 3).shape == (5, 3)


def test_the_same_catalogue_gives_the_same_vectors():
    catalog = films_world(40, 80).dataset.catalog
    assert np.array_equal(tfidf(catalog, 8), tfidf(replace(catalog), 8))
