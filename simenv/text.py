"""Items as vectors of what is written about them."""

import re
from collections import Counter

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from .arrays import FloatArray
from .catalog import Catalog
from .chance import stream

WORD = re.compile(r"[^\W\d_]{3,}")


def tfidf(catalog: Catalog, dimensions: int) -> FloatArray:
    """Return unit vectors of the items' words and categories [I, dimensions] (TF-IDF, then a truncated SVD).

    Categories count as much as the words together. Zero where nothing is written.
    """
    words = [Counter(WORD.findall(catalog.text(item).lower())) for item in range(len(catalog))]
    spread = Counter(word for counts in words for word in counts)
    common = 0.3 * len(catalog)
    vocabulary = sorted(word for word, items in spread.items() if 2 <= items <= common)
    place = {word: number for number, word in enumerate(vocabulary)}
    rows, columns, values = [], [], []
    for item, counts in enumerate(words):
        for word, count in counts.items():
            if word in place:
                rows.append(item)
                columns.append(place[word])
                values.append((1 + np.log(count)) * np.log(len(catalog) / spread[word]))
    shape = (len(catalog), len(vocabulary))
    by_word = _unit(sparse.csr_array((np.array(values, dtype=float), (rows, columns)), shape=shape))
    matrix = catalog.category_matrix
    rarity = np.log(len(catalog) / np.maximum(matrix.sum(axis=0), 1)) + 1
    by_category = _unit(sparse.csr_array(matrix * rarity))
    both = _unit(sparse.hstack([by_word, by_category], format="csr"))
    vectors = np.zeros((len(catalog), dimensions))
    rank = min(dimensions, *both.shape)
    if rank > 0 and both.nnz:
        if rank < min(both.shape):
            start = stream(0, "tfidf").normal(size=min(both.shape))
            left, sizes, _ = svds(both, k=rank, v0=start, random_state=0)
        else:  # few words and categories; svds stops one short of them all
            left, sizes, _ = np.linalg.svd(both.toarray(), full_matrices=False)
        vectors[:, :rank] = left * sizes
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-9)


def _unit(matrix: sparse.csr_array) -> sparse.csr_array:
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).reshape(-1))
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ matrix)
