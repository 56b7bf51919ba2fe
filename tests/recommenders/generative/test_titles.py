"""Titles as tokens: each ends, no two read alike, and what cannot be told apart is said."""

import numpy as np
import pytest

from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.errors import SimenvError
from simenv.interactions import Interactions
from simenv.pages import EMPTY
from simenv.recommenders.generative.titles import TitleTokenizer

END = 0


def shelf(*titles: str | None, years: list[float] | None = None) -> Dataset:
    count = len(titles)
    nothing = np.full(count, None, dtype=object)
    when = np.array(years if years is not None else [np.nan] * count)
    catalog = Catalog(np.arange(count) + 10, np.array(titles, dtype=object), ((),) * count, nothing, when)
    empty = np.zeros(0, dtype=int)
    return Dataset("shelf", catalog, Users(np.arange(1)), Interactions.sort(empty, empty)[0])


def letters(text: str) -> list[int]:
    """One token a letter, which one being its code point."""
    return [ord(letter) for letter in text]


def fitted(dataset: Dataset) -> TitleTokenizer:
    tokenizer = TitleTokenizer(letters, END, vocabulary=256)
    tokenizer.fit(dataset)
    return tokenizer


def test_a_title_is_its_tokens_and_an_end():
    tokenizer = fitted(shelf("up", "jaws"))
    assert tokenizer.rows().tolist() == [[*letters("up"), END, EMPTY, EMPTY], [*letters("jaws"), END]]
    assert tokenizer.rows(first=1000)[0].tolist() == [1000 + ord("u"), 1000 + ord("p"), 1000, EMPTY, EMPTY]
    assert tokenizer.sizes == (256,) * 5
    assert tokenizer.names() == []


def test_namesakes_get_their_year_or_a_number():
    tokenizer = fitted(shelf("Heat", "Heat", "Heat", "Heat", "Up", years=[1986, 1995, 1995, np.nan, 2009]))
    assert tokenizer.texts == ["Heat (1986)", "Heat (1995)", "Heat (1995) 2", "Heat", "Up"]
    report = tokenizer.report()
    assert (report.collisions_before, report.collisions_after) == (3, 0)


def test_a_number_that_is_taken_is_passed_over():
    assert fitted(shelf("Saw", "Saw", "Saw 2")).texts == ["Saw", "Saw 3", "Saw 2"]


def test_a_tokenizer_that_reads_all_alike_is_told():
    deaf = TitleTokenizer(lambda _: [5], END)
    with pytest.raises(SimenvError, match=r"reads 'b' and 'b \d+' alike, so items 10 and 11"):
        deaf.fit(shelf("a", "b"))


def test_a_title_with_the_end_in_it_is_told():
    with pytest.raises(SimenvError, match=f"none may be {ord('b')}, its end"):
        TitleTokenizer(letters, ord("b"), vocabulary=256).fit(shelf("abc"))


def test_an_item_without_a_title_is_called_by_its_id():
    assert fitted(shelf(None)).texts == ["item 10"]


def test_tokens_beyond_the_vocabulary_are_told():
    with pytest.raises(SimenvError, match="vocabulary is said to be 100"):
        TitleTokenizer(letters, END, vocabulary=100).fit(shelf("up"))


def test_kept_titles_are_the_same_rows():
    tokenizer, kept = fitted(shelf("up", "jaws")), TitleTokenizer(letters, END)
    kept.restore(tokenizer.state())
    np.testing.assert_array_equal(kept.rows(), tokenizer.rows())
    with pytest.raises(SimenvError, match="fitted to 2 items of 'shelf'"):
        kept.check(shelf("up", "down"))
