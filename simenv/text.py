"""Items as what is written about them: words to count, and vectors that lie near each other where the texts do."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from .algebra import leading
from .arrays import FloatArray
from .catalog import Catalog
from .errors import MissingExtra, SimenvError, blame

ROUNDS = 9  # of the search for directions
WORD = r"[^\W_]{2,}"  # letters and digits, two at least


class TextEncoder(Protocol):
    """Turns what is written about items into vectors."""

    def encode(self, catalog: Catalog) -> FloatArray:
        """Return a unit vector for each item [I, D]; zero where nothing is written."""
        ...


@dataclass(frozen=True, slots=True)
class TfidfEncoder:
    """Words and categories, weighted by TF-IDF and brought down to a few dimensions; needs nothing but the texts.

    Categories count as much as the words together; the name of a rare one is among these too.
    """

    dimensions: int

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise SimenvError(f"dimensions is {self.dimensions}; it must be at least 1")

    def encode(self, catalog: Catalog) -> FloatArray:
        """Return a unit vector for each item [I, D]; zero where nothing is written."""
        return _unit(_reduced(weighted_words(catalog), self.dimensions))


@dataclass(frozen=True, slots=True)
class SentenceEncoder:
    """A sentence-transformers model, from a folder or an installed package that carries one; nothing is downloaded."""

    model: str | Path
    device: str = "cpu"  # each kind of device rounds in its own way

    def encode(self, catalog: Catalog) -> FloatArray:
        """Return a unit vector for each item [I, D]; zero where nothing is written."""
        return self.texts([catalog.text(item) for item in range(len(catalog))])

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """Return a unit vector for each text [T, D]; zero for one that says nothing."""
        model = _sentence_model(str(self.model), self.device)
        with blame("SentenceEncoder", f"the model in {self.model}"):
            vectors = np.array(model.encode(list(texts), show_progress_bar=False), dtype=np.float64)
        vectors[[not text.strip() for text in texts]] = 0  # the model has a vector even for silence
        return _unit(vectors)


@lru_cache(maxsize=2)
def _sentence_model(model: str, device: str) -> Any:
    """Return a sentence model, loaded once for all who use it."""
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError:
        raise MissingExtra("SentenceEncoder", "sentences") from None
    folder = model_folder(model)
    with blame("SentenceEncoder", f"the model in {folder}"):
        return SentenceTransformer(str(folder), device=device, local_files_only=True)


def model_folder(model: str | Path) -> Path:
    """Return the folder of a model: itself, or the one that an installed package of this name carries."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    name = str(model).replace("-", "_")
    package = importlib.util.find_spec(name) if name.isidentifier() else None
    for place in (package and package.submodule_search_locations) or ():
        for carried in sorted(Path(place).glob("**/modules.json")):
            return carried.parent
    raise SimenvError(
        f"no sentence model '{model}': there is no such folder, and no installed package of this name carries one"
        " (a modules.json); nothing is downloaded, so save the model to a folder first and name that"
    )


def weighted_words(catalog: Catalog) -> sparse.csr_array:
    """Return the TF-IDF weights of each item's words, and beside them those of its categories [I, W]."""
    counts = word_counts(catalog)
    spread = np.bincount(counts.indices, minlength=counts.shape[1])  # items with each word
    # A word of one item links it to nothing, and one of many links everything.
    words = counts[:, (spread >= 2) & (spread <= 0.3 * len(catalog))]
    categories = sparse.csr_array(catalog.category_matrix).astype(np.float64)
    return sparse.hstack([tfidf(words), tfidf(categories)], format="csr")


def word_counts(catalog: Catalog) -> sparse.csr_array:
    """Return how often each item's title, categories and description hold each word [I, W]; no W where none do."""
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [catalog.text(item) for item in range(len(catalog))]
    try:
        return sparse.csr_array(CountVectorizer(token_pattern=WORD, dtype=np.float64).fit_transform(texts))
    except ValueError:  # its way to say that there is no word at all
        return sparse.csr_array((len(catalog), 0))


def tfidf(counts: sparse.csr_array) -> sparse.csr_array:
    """Return counts as unit rows of TF-IDF weights: (1 + log count) (1 + log(items / items with the word))."""
    from sklearn.feature_extraction.text import TfidfTransformer

    if not counts.nnz:
        return counts
    return sparse.csr_array(TfidfTransformer(smooth_idf=False, sublinear_tf=True).fit_transform(counts))


def _reduced(matrix: sparse.csr_array, dimensions: int) -> FloatArray:
    """Return the rows in this many dimensions, their products kept as well as can be."""
    items, width = matrix.shape
    vectors = np.zeros((items, dimensions))
    if width <= dimensions:
        vectors[:, :width] = matrix.toarray()
    elif matrix.nnz:
        found = leading(matrix, min(dimensions, items), rounds=ROUNDS)
        vectors[:, : len(found.values)] = matrix @ found.right
        vectors[np.diff(matrix.indptr) == 0] = 0  # nothing is not quite nothing after an SVD
    return vectors


def _unit(vectors: FloatArray) -> FloatArray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-6)
