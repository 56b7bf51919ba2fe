"""Items that read like the user's own: scored by the words of titles, categories and descriptions."""

from abc import abstractmethod

import numpy as np
from scipy import sparse

from simenv.arrays import IntArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_number, check_whole
from simenv.pages import EMPTY
from simenv.text import tfidf, word_counts

from .recommender import Recommender, fame_of

WINDOW = 10  # items; all that a user ever met reads like everything


class ByWords(Recommender):
    """Asks with the words of the history's items; each item answers with its own.

    Only the last `window` items of a history ask, or all of them if it is None. Where no word answers, fame decides.
    """

    learnt = ("questions", "answers", "fame")

    def __init__(self, *, window: int | None = WINDOW) -> None:
        if window is not None:  # None: the whole history
            check_whole(window=window)
        self.window = window

    def learn(self, dataset: Dataset) -> None:
        """Weigh the words of every item, as part of a history and as a candidate."""
        counts = word_counts(dataset.catalog)
        if not counts.nnz:
            raise SimenvError(
                f"{dataset.name}: none of its {len(dataset.catalog)} items has a title, category or description"
                f" with a word of two letters; {type(self).__name__} scores items by their words and needs some"
            )
        self.questions, self.answers = self.weigh(counts)  # [I, W] and [W, I]
        self.fame = fame_of(dataset)

    @abstractmethod
    def weigh(self, counts: sparse.csr_array) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Return what each item asks for [I, W] and what it answers to each word [W, I], of its word counts [I, W]."""

    def rank(self, context: Context, k: int) -> IntArray:
        """Return the `k` items whose words answer best to those of each user's history, this session included."""
        question = self._history(context) @ self.questions
        return context.top((question @ self.answers).toarray() + self.fame, k)

    def _history(self, context: Context) -> sparse.csr_array:
        """Return the weight of each user's items [B, I]."""
        profile = context.profile()
        if self.window is None:
            return profile
        recent = context.histories(self.window)
        rows, columns = np.nonzero(recent != EMPTY)
        last = sparse.csr_array((np.ones(len(rows), dtype=bool), (rows, recent[rows, columns])), shape=profile.shape)
        last.sum_duplicates()
        return sparse.csr_array(profile.multiply(last))


class BM25(ByWords):
    """Sums, over the words of the history's items, what each weighs in a candidate by Okapi BM25.

    A word found f times in an item of length l weighs idf * f * (k1 + 1) / (f + k1 * (1 - b + b * l / mean l));
    its idf is log(1 + (N - n + 0.5) / (n + 0.5)) where n of N items hold it (Lucene's, which is never negative).
    """

    def __init__(self, *, k1: float = 1.2, b: float = 0.75, window: int | None = WINDOW) -> None:
        super().__init__(window=window)
        check_number(least=0, k1=k1)
        check_number(least=0, most=1, b=b)
        self.k1 = k1
        self.b = b

    def weigh(self, counts: sparse.csr_array) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Return the words as they stand, and their BM25 weights; items without words are no documents."""
        lengths = counts.sum(axis=1)
        documents = int((lengths > 0).sum())
        holders = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = np.log1p((documents - holders + 0.5) / (holders + 0.5))
        dampers = self.k1 * (1 - self.b + self.b * lengths / (lengths.sum() / documents))
        found = counts.data
        weights = idf[counts.indices] * found * (self.k1 + 1) / (found + np.repeat(dampers, np.diff(counts.indptr)))
        return counts, _turned(sparse.csr_array((weights, counts.indices, counts.indptr), shape=counts.shape))


class TfIdf(ByWords):
    """Scores an item by the cosine between its TF-IDF vector and the mean of the history's."""

    def weigh(self, counts: sparse.csr_array) -> tuple[sparse.csr_array, sparse.csr_array]:
        """Return unit vectors on both sides; the mean's own length is the same for all items and left out."""
        vectors = tfidf(counts)
        return vectors, _turned(vectors)


def _turned(matrix: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(matrix.T)
