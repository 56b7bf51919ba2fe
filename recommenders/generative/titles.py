"""Items named by their titles, in the tokens of a text tokenizer: to a model that has read, they mean something."""

from collections.abc import Callable, Sequence

import numpy as np

from simenv.arrays import IntArray
from simenv.catalog import Catalog
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_whole
from simenv.pages import EMPTY

from .disambiguation import collisions
from .tokens import Tokens

Encode = Callable[[str], Sequence[int]]
TRIES = 10  # more than a title has namesakes


class TitleTokenizer(Tokens):
    """Names each item by the tokens of its title and an end token; EMPTY after that.

    `encode` gives a text's tokens, `end` is the token that ends a title, and `vocabulary` the number of tokens there
    are (by default, as many as the titles show). Items that would read alike get their year, and if that is not enough
    a number; `texts` are the titles as they were written in the end.
    """

    texts: list[str]

    def __init__(self, encode: Encode, end: int, *, vocabulary: int | None = None) -> None:
        check_whole(least=0, end=end)
        if vocabulary is not None:
            check_whole(least=end + 1, vocabulary=vocabulary)
        self.encode = encode
        self.end = end
        self.vocabulary = vocabulary

    def fit(self, dataset: Dataset) -> None:
        """Write down the titles of a catalogue."""
        if not len(dataset.catalog):
            raise SimenvError(f"{dataset.name}: there are no items to name")
        plain = [dataset.catalog.title(item) for item in range(len(dataset.catalog))]
        self.texts = titles_apart(dataset.catalog, self._row)
        codes = _laid([self._row(text) for text in self.texts])
        known = int(codes.max()) + 1
        if self.vocabulary is not None and known > self.vocabulary:
            raise SimenvError(f"the titles hold token {known - 1} and the vocabulary is said to be {self.vocabulary}")
        sizes = (self.vocabulary or known,) * codes.shape[1]
        self.keep(dataset, codes, sizes, collisions(_laid([self._row(text) for text in plain])))

    def names(self) -> list[str]:
        """Return nothing: titles need no token that the text tokenizer does not have."""
        self._check_fitted()
        return []

    def _row(self, text: str) -> tuple[int, ...]:
        row = (*(int(token) for token in self.encode(text)), self.end)
        if self.end in row[:-1] or min(row) < 0:
            raise SimenvError(f"the title '{text}' has the tokens {list(row[:-1])}; none may be {self.end}, its end")
        return row

    def _offsets(self) -> IntArray:
        return np.zeros(len(self.sizes), dtype=np.int64)  # a token means the same at every place


def titles_apart(catalog: Catalog, encode: Callable[[str], tuple[int, ...]]) -> list[str]:
    """Return a title for each item so that no two are encoded alike: with the year, or else a number, where needed."""
    texts = [catalog.title(item) for item in range(len(catalog))]
    for items in _namesakes([encode(text) for text in texts]):
        for item in items:
            year = catalog.years[item]
            if np.isfinite(year) and str(int(year)) not in texts[item]:
                texts[item] += f" ({int(year)})"
    rows = [encode(text) for text in texts]
    taken = set(rows)
    for items in _namesakes(rows):
        number = 1
        for item in items[1:]:
            for _ in range(TRIES + len(items)):
                number += 1
                row = encode(f"{texts[item]} {number}")
                if row not in taken:
                    break
            else:
                raise SimenvError(
                    f"the text tokenizer reads '{texts[item]}' and '{texts[item]} {number}' alike,"
                    f" so items {catalog.ids[items[0]]} and {catalog.ids[item]} cannot be told apart; take another"
                )
            texts[item] += f" {number}"
            taken.add(row)
    return texts


def _namesakes(rows: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Return the items of each row of tokens that several have."""
    owners: dict[tuple[int, ...], list[int]] = {}
    for item, row in enumerate(rows):
        owners.setdefault(row, []).append(item)
    return [items for items in owners.values() if len(items) > 1]


def _laid(rows: Sequence[tuple[int, ...]]) -> IntArray:
    codes = np.full((len(rows), max(map(len, rows))), EMPTY, dtype=np.int64)
    for place, row in enumerate(rows):
        codes[place, : len(row)] = row
    return codes
