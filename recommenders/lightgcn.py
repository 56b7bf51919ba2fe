"""LightGCN: vectors smoothed over the graph of who met what (He 2020), with its gradient by hand.

The layers are linear and the graph's matrix is its own transpose, so the gradient takes the same road as the
vectors: one compiled sum over neighbours serves both, and nothing is normalised twice.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numba
import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.options import check_choice, check_number, check_whole
from simenv.products import product
from simenv.store import Arrays

from .adam import Adam
from .bpr import is_among
from .factors import Factors, Parts
from .learned import falling
from .recommender import seen_matrix

Sides: TypeAlias = tuple[FloatArray, FloatArray]  # users' vectors [U, D] and items' [I, D]


class LightGCN(Factors):
    """Learns vectors whose mean over `layers` rounds of smoothing puts what was chosen before the rest.

    loss 'softmax': each chosen item against `negatives` drawn for the whole batch, less those that the user chose too,
    by the cosine over a `temperature`: it needs a tenth of the epochs. What is learnt by cosines is ranked by them
    too, times the length of the item's vector to the power of `lengths`: smoothing leaves well-connected items longer.
    loss 'bpr': against one item drawn for each, by plain products, as published. The learning rate falls evenly to a
    tenth over the epochs.
    """

    def __init__(
        self,
        *,
        dimensions: int = 64,
        layers: int = 3,
        loss: Literal["softmax", "bpr"] = "softmax",
        temperature: float = 0.1,
        negatives: int = 1024,
        lengths: float = 0.25,
        learning_rate: float = 0.01,
        regularisation: float = 1e-4,
        batch_size: int = 4096,
        epochs: int = 40,
        patience: int = 5,
        check_every: int = 1,
        seed: int = 0,
    ) -> None:
        check_whole(dimensions=dimensions, layers=layers, negatives=negatives, batch_size=batch_size)
        check_whole(epochs=epochs, check_every=check_every)
        check_whole(least=0, seed=seed, patience=patience)
        check_choice(("softmax", "bpr"), loss=loss)
        check_number(above=0, learning_rate=learning_rate, temperature=temperature)
        check_number(least=0, lengths=lengths, regularisation=regularisation)
        self.dimensions = dimensions
        self.layers = layers
        self.loss = loss
        self.temperature = temperature
        self.negatives = negatives
        self.lengths = lengths
        self.learning_rate = learning_rate
        self.regularisation = regularisation
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.check_every = check_every
        self.seed = seed

    def begin(self, dataset: Dataset) -> None:
        """Draw small vectors and lay the graph both ways."""
        super().begin(dataset)
        rng = stream(self.seed, "lightgcn")
        self._graph = Graph(dataset)
        self._users = rng.normal(0, 0.1, size=(len(dataset.users), self.dimensions)).astype(np.float32)
        self._items = rng.normal(0, 0.1, size=(len(dataset.catalog), self.dimensions)).astype(np.float32)
        self._adam = Adam([self._users, self._items])

    def epoch(self, number: int) -> float:
        """Take a step for each batch of pairs, in an order of the epoch's own."""
        graph = self._graph
        rng = stream(self.seed, "lightgcn", number)
        order = rng.permutation(len(graph.owners))
        rate = falling(self.learning_rate, number, self.epochs)
        losses = []
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            losses.append(self.step(graph.owners[rows], graph.chosen[rows], rng, rate) * len(rows))
        return float(sum(losses)) / max(len(order), 1)

    def step(self, owners: IntArray, chosen: IntArray, rng: np.random.Generator, rate: float) -> float:
        """Take one step at this rate for a batch of users and items they chose; return the mean loss."""
        graph = self._graph
        smooth = graph.smooth((self._users, self._items), self.layers)
        toward = np.zeros_like(self._users), np.zeros_like(self._items)
        learn = self._softmax if self.loss == "softmax" else self._pairs
        loss, drawn = learn(smooth, toward, owners, chosen, rng)
        users, items = graph.smooth(toward, self.layers)
        if self.regularisation:
            share = np.float32(self.regularisation / len(owners))
            _add(users, owners, share * self._users[owners])
            for rows in (chosen, drawn):
                _add(items, rows, share * self._items[rows])
        self._adam.step([users, items], rate)
        return loss

    def fit_parts(self) -> Parts:
        """Return each user's share of the mean over layers, what the items add to it, and the items' means."""
        graph = self._graph
        smooth, (_, said) = graph.smooth_and_say((self._users, self._items), self.layers)
        own = np.where(graph.user_roots[:, None] > 0, self._users / (self.layers + 1), 0)
        table = smooth[1]
        if self.loss == "softmax":
            table, _ = _shortened(table, self.lengths)
        return Parts(own, said, np.array(0.5), table)

    def progress(self) -> Arrays:
        """Return the vectors before smoothing, and the optimiser's memory of them."""
        return {"users": self._users, "items": self._items} | self._adam.progress()

    def resume(self, arrays: Arrays) -> None:
        """Go on with these vectors."""
        self._users[:], self._items[:] = arrays["users"], arrays["items"]
        self._adam.resume(arrays)

    def _softmax(
        self, smooth: Sides, toward: Sides, owners: IntArray, chosen: IntArray, rng: np.random.Generator
    ) -> tuple[float, IntArray]:
        """Add the gradient of the sampled softmax over cosines to `toward`; return it and the items drawn."""
        count, heat = np.float32(len(owners)), np.float32(1 / self.temperature)
        drawn = rng.integers(len(self._items), size=self.negatives)
        mine, through_mine = _shortened(smooth[0][owners], 0.0)
        good, through_good = _shortened(smooth[1][chosen], self.lengths)
        rest, through_rest = _shortened(smooth[1][drawn], self.lengths)
        right = heat * np.einsum("bd,bd->b", mine, good)
        wrong = product(mine, rest.T)
        wrong *= heat
        self._graph.leave_out(wrong, owners, drawn)  # what was drawn may be what the user chose, now or at another time
        most = np.maximum(right, wrong.max(axis=1))
        np.exp(wrong - most[:, None], out=wrong)
        over = np.exp(right - most)
        whole = over + wrong.sum(axis=1)
        loss = float(np.mean(np.log(whole) - (right - most)))
        wrong *= (heat / count / whole)[:, None]
        pull = heat / count * (1 - over / whole)
        of_mine = product(wrong, rest) - pull[:, None] * good
        of_rest = product(wrong.T, mine)
        _add(toward[0], owners, through_mine(of_mine))
        _add(toward[1], chosen, through_good(-pull[:, None] * mine))
        _add(toward[1], drawn, through_rest(of_rest))
        return loss, drawn

    def _pairs(
        self, smooth: Sides, toward: Sides, owners: IntArray, chosen: IntArray, rng: np.random.Generator
    ) -> tuple[float, IntArray]:
        """Add the gradient of the pairwise loss to `toward`; return it and the items drawn."""
        drawn = self._graph.others(owners, rng)
        mine, good, bad = smooth[0][owners], smooth[1][chosen], smooth[1][drawn]
        gap = np.einsum("bd,bd->b", mine, good - bad)
        push = (1 / (1 + np.exp(gap)) / np.float32(len(owners)))[:, None]
        _add(toward[0], owners, push * (bad - good))
        _add(toward[1], chosen, -push * mine)
        _add(toward[1], drawn, push * mine)
        return float(np.mean(np.logaddexp(0, -gap))), drawn


class Graph:
    """Who met what, as neighbours both ways; a pair weighs one over the roots of both numbers of neighbours."""

    def __init__(self, dataset: Dataset) -> None:
        seen = seen_matrix(dataset)
        seen.sort_indices()
        turned = sparse.csr_array(seen.T)
        self.owners = np.repeat(np.arange(seen.shape[0], dtype=np.int32), np.diff(seen.indptr))
        self.chosen = seen.indices.astype(np.int32)
        self._users = seen.indptr.astype(np.int64), self.chosen
        self._items = turned.indptr.astype(np.int64), turned.indices.astype(np.int32)
        self.user_roots, self.item_roots = (_over_root(starts) for starts, _ in (self._users, self._items))

    def smooth(self, sides: Sides, layers: int) -> Sides:
        """Return the mean of the vectors and of their next `layers` rounds of smoothing."""
        return self.smooth_and_say(sides, layers)[0]

    def smooth_and_say(self, sides: Sides, layers: int) -> tuple[Sides, Sides]:
        """Return what `smooth` does, and what each neighbour adds to the means, but for the root of one's own number.

        By Horner's rule: the mean is (v + S(v + S(v + ...))) over the number of terms.
        """
        users, items = sides
        sum_users, sum_items = users, items
        said = np.zeros_like(users), np.zeros_like(items)
        for _ in range(layers):
            said = sum_users * self.user_roots[:, None], sum_items * self.item_roots[:, None]
            sum_users, sum_items = np.empty_like(users), np.empty_like(items)
            _spread(*self._users, said[1], self.user_roots, users, sum_users)
            _spread(*self._items, said[0], self.item_roots, items, sum_items)
        share = np.float32(1 / (layers + 1))
        sum_users *= share
        sum_items *= share
        return (sum_users, sum_items), (said[0] * share, said[1] * share)

    def leave_out(self, scores: FloatArray, owners: IntArray, drawn: IntArray) -> None:
        """Put at minus infinity what each owner [B] chose among the items drawn [N], in their scores [B, N]."""
        order = np.argsort(drawn, kind="stable")
        begins = np.searchsorted(drawn[order], np.arange(len(self.item_roots) + 1))
        _leave_out(*self._users, owners, begins, order, scores)

    def others(self, owners: IntArray, rng: np.random.Generator) -> IntArray:
        """Return an item for each owner that he did not choose, drawn evenly (or any, where none is left)."""
        starts, items = self._users
        count = len(self.item_roots)
        drawn = rng.integers(count, size=len(owners))
        for _ in range(20):
            wrong = _are_among(starts, items, owners, drawn)
            if not wrong.any():
                break
            drawn[wrong] = rng.integers(count, size=int(wrong.sum()))
        return drawn


def _over_root(starts: IntArray) -> FloatArray:
    counts = np.diff(starts).astype(np.float32)
    return np.divide(1, np.sqrt(counts), out=np.zeros_like(counts), where=counts > 0)


def _shortened(vectors: FloatArray, power: float) -> tuple[FloatArray, Callable[[FloatArray], FloatArray]]:
    """Return the vectors with their lengths to this power, and what turns a gradient after that into one before."""
    norms = np.sqrt(np.einsum("bd,bd->b", vectors, vectors))[:, None] + np.float32(1e-12)
    unit, scale = vectors / norms, norms ** np.float32(power - 1)

    def through(gradient: FloatArray) -> FloatArray:
        along = np.einsum("bd,bd->b", gradient, unit)[:, None] * np.float32(1 - power)
        return (gradient - along * unit) * scale

    return vectors * scale, through


@numba.njit(cache=True)
def _add(table, rows, vectors):  # type: ignore[no-untyped-def]
    """Add each vector to its row; a row may come more than once."""
    for place, row in enumerate(rows):
        for dimension in range(table.shape[1]):
            table[row, dimension] += vectors[place, dimension]


@numba.njit(cache=True, parallel=True)
def _spread(starts, neighbours, table, roots, base, out):  # type: ignore[no-untyped-def]
    """Fill each row with its base and the sum of its neighbours' vectors over its root."""
    for row in numba.prange(len(out)):
        total = np.zeros(table.shape[1], dtype=np.float32)
        for entry in range(starts[row], starts[row + 1]):
            vector = table[neighbours[entry]]
            for dimension in range(len(total)):
                total[dimension] += vector[dimension]
        for dimension in range(len(total)):
            out[row, dimension] = base[row, dimension] + roots[row] * total[dimension]


@numba.njit(cache=True)
def _leave_out(starts, items, owners, begins, places, scores):  # type: ignore[no-untyped-def]
    """Put at minus infinity the places of each owner's items, which begin at `begins`."""
    for row, owner in enumerate(owners):
        for item in items[starts[owner] : starts[owner + 1]]:
            for place in places[begins[item] : begins[item + 1]]:
                scores[row, place] = -np.inf


@numba.njit(cache=True)
def _are_among(starts, items, owners, drawn):  # type: ignore[no-untyped-def]
    found = np.zeros(len(owners), dtype=np.bool_)
    for row, owner in enumerate(owners):
        found[row] = is_among(items, starts[owner], starts[owner + 1], drawn[row])
    return found
