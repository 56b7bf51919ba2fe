"""What texts are about, as vectors: near ones mean what is alike. By their words, unless another encoder is given."""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import numba
import numpy as np

from simenv.arrays import FloatArray

WORDS = re.compile(r"\w\w+")
PLACES = 256  # of a vector; words share them, with a sign that lets chance meetings cancel out
ROOM = 256  # names that there is room for at first
HELD = 50_000  # words that are kept
MOST_WORDS = 1000  # of a text that are looked at


class Encoder(Protocol):
    """Makes vectors of texts."""

    async def vectors(self, texts: Sequence[str]) -> FloatArray:
        """Return a vector of length 1 for each text [T, D], float32; of length 0 for a text that says nothing."""
        ...


class WordWeights:
    """TF-IDF over the texts that there are, hashed to `PLACES`; a word in none of them counts as the rarest."""

    def __init__(self, texts: Iterable[str]) -> None:
        holders: dict[str, int] = {}
        count = 0
        for text in texts:
            count += 1
            for word in set(words_of(text)):
                holders[word] = holders.get(word, 0) + 1
        self._idf = {word: 1 + math.log((1 + count) / (1 + number)) for word, number in holders.items()}
        self._rarest = 1 + math.log(1 + count)
        self._held: dict[str, int] = {}  # words, and where in these two they stand
        self._places = np.empty(HELD, dtype=np.int64)
        self._weights = np.empty(HELD)

    def vector(self, text: str) -> FloatArray:
        """Return what a text is about [PLACES], float32."""
        found: FloatArray = self._vectors([text])[0]
        return found

    async def vectors(self, texts: Sequence[str]) -> FloatArray:
        """Return what each text is about."""
        return self._vectors(texts)

    def _vectors(self, texts: Sequence[str]) -> FloatArray:
        held = self._held
        told = np.zeros((len(texts), PLACES), dtype=np.float32)
        for row, text in enumerate(texts):
            if len(held) > HELD - MOST_WORDS:  # no room for a text of new words
                held.clear()
            words = WORDS.findall(text.lower())[:MOST_WORDS]
            found = [held[word] if word in held else self._hold(word) for word in words]
            add_up(np.array(found, dtype=np.int64), self._places, self._weights, told[row])
        return told

    def _hold(self, word: str) -> int:
        bits = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=4).digest())
        weight = self._idf.get(word, self._rarest)
        found = self._held[word] = len(self._held)
        self._places[found], self._weights[found] = bits % PLACES, weight if bits >> 31 else -weight
        return found


class Meanings:
    """An encoder that is asked once for what comes back again and again: the names of items."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._rows: dict[str, int] = {}
        self._table: FloatArray = np.empty((0, 0), dtype=np.float32)

    async def learn(self, texts: Sequence[str], names: Sequence[str]) -> FloatArray:
        """Return what some texts are about [T, D], and hold what the names are."""
        new = [name for name in dict.fromkeys(names) if name not in self._rows]
        if not texts and not new:
            return np.empty((0, 0), dtype=np.float32)
        found = await self.encoder.vectors([*texts, *new])
        if new:
            self._hold(new, found[len(texts) :])
        return found[: len(texts)]

    def together(self, names: Sequence[str]) -> FloatArray:
        """Return what names that were learnt are about together [D]."""
        rows = self._rows
        found: FloatArray = middle(self._table, np.array([rows[name] for name in names], dtype=np.int64))
        return found

    def _hold(self, names: Sequence[str], vectors: FloatArray) -> None:
        for name, vector in zip(names, vectors, strict=True):
            row = self._rows.setdefault(name, len(self._rows))
            if row >= len(self._table):
                wider = np.zeros((max(2 * row, ROOM), len(vector)), dtype=np.float32)
                wider[:row] = self._table[:row] if row else 0
                self._table = wider
            self._table[row] = vector


def words_of(text: str) -> list[str]:
    """Return the words of a text, without case."""
    return WORDS.findall(text.lower())


@numba.njit(cache=True)
def add_up(found, places, weights, out):  # type: ignore[no-untyped-def]
    """Fill a vector with the weights of these words at their places, and make its length 1."""
    for word in found:
        out[places[word]] += weights[word]
    _shorten(out)


@numba.njit(cache=True)
def middle(table, rows):  # type: ignore[no-untyped-def]
    """Return the sum of some rows, its length 1."""
    out = np.zeros(table.shape[1], dtype=np.float32)
    for row in rows:
        for place in range(len(out)):
            out[place] += table[row, place]
    _shorten(out)
    return out


@numba.njit(cache=True, fastmath={"reassoc", "contract"})
def nearness(table, rows, wanted):  # type: ignore[no-untyped-def]
    """Return how near some rows are to a vector, from 0 to 1."""
    near = np.zeros(len(rows))
    for number, row in enumerate(rows):
        total = np.float32(0)
        for place in range(len(wanted)):
            total += table[row, place] * wanted[place]
        near[number] = min(max(total, np.float32(0)), np.float32(1))
    return near


@numba.njit(cache=True)
def _shorten(vector):  # type: ignore[no-untyped-def]
    total = 0.0
    for one in vector:
        total += one * one
    if total:
        for place in range(len(vector)):
            vector[place] /= np.sqrt(total)
