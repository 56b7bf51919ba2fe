"""What users choose next, learnt from what followed in their histories.

Every history is cut at several moments: what a user met before one is the lesson's question, what he met soon
after is its answer. The question is told in three kinds of evidence: the company of his items (directions of who
met what), what is written about them, and their order (each of the two is summed up once over his last items,
once over the last dozens and once over hundreds). One linear layer and one vector an item answer it, so that
at run time a user is one short vector, whatever his history.

This is the family of linear autoencoders and sequence models (EASE, MultVAE, SASRec): users made of it may take
the policies of this family better than others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from simenv.algebra import leading
from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset, disliked_to, liked_from
from simenv.products import product
from simenv.text import TfidfEncoder
from simenv.training import Clock, Epoch

from .calibration import LAST, LUKEWARM

WIDTH = 24  # of a user's and an item's vector
DIRECTIONS, TEXTS = 128, 32  # in which histories are told: of company, of texts
FAME = 0.2  # power of an item's fame by which it says less
HALVES = (10, 50, 200)  # items after which one counts half: short, middling and long memory
LIKING = 100  # the same, for what was liked and disliked
MASS = 0.8  # power of a history's mass by which its sum is divided: between a sum and a mean
CUTS = (0.3, 0.4, 0.5, 0.6, 0.7)  # shares of a history that are told; what follows within a tenth is asked
NEXT = 0.1
LATE_CUTS = (0.6, 0.7, 0.8, 0.9)
ERA = 8.0  # years over which items are of one time
MOST_LESSONS, MOST_ITEMS = 40_000, 6000  # beyond these a sample is taken
BATCH, ROUNDS, LATE_ROUNDS, LEAST_STEPS = 512, 8, 2, 80
RATE, LATE_RATE = 0.01, 0.002  # of learning, at first
DOUBT = 0.06  # rows an item that a vector must be worth


@dataclass(frozen=True, eq=False)
class Leanings:
    """By how much likelier than one drawn blindly each item is to be chosen, of those a user never met; in logs."""

    users: FloatArray  # [U, D]
    items: FloatArray  # [I, D], their mean is 0
    base: FloatArray  # [I], the same for everybody
    level: FloatArray  # [U], makes the chances of all items sum to 1

    def of(self, users: IntArray, items: IntArray) -> FloatArray:
        """Return the leaning of each pair."""
        own = np.einsum("nd,nd->n", self.users[users], self.items[items])
        return np.asarray(own + self.base[items] + self.level[users])


@dataclass(frozen=True, eq=False)
class _Lessons:
    """Questions, their answers, and what was met before."""

    told: FloatArray  # [L, W]
    answers: sparse.csr_array  # [L, I]
    met: sparse.csr_array  # [L, I]


def learn_leanings(
    dataset: Dataset, seed: int, watch: Callable[[Epoch], None] = lambda _: None
) -> tuple[Leanings, Leanings]:
    """Return the users' leanings after four fifths of their histories, and after the whole."""
    rounds_done, clock = 0, Clock()

    def tell(loss: float) -> None:
        nonlocal rounds_done
        rounds_done += 1
        total = ROUNDS + LATE_ROUNDS
        watch(Epoch(rounds_done, total, loss, None, clock.left(rounds_done, total)))

    rng = stream(seed, "choosing")
    tongue = _Tongue(dataset)
    traits = tongue.traits.astype(np.float32)
    scale: tuple[FloatArray, FloatArray] | None = None
    lore: _Lore | None = None
    found = []
    for cuts, share, rounds, rate in ((CUTS, LAST, ROUNDS, RATE), (LATE_CUTS, 1.0, LATE_ROUNDS, LATE_RATE)):
        lessons = _lessons(dataset, tongue, cuts, share, rng)
        if scale is None:
            scale = lessons.told.mean(axis=0), lessons.told.std(axis=0) + 1e-6
        lessons.told[:] = (lessons.told - scale[0]) / scale[1]
        fame = _fame(dataset, share)
        lore = _taught(lessons, traits, fame, lore, rounds, rate, rng, tell)
        items = lore.own + product(traits, lore.by_traits)
        items -= items.mean(axis=0)
        before = _before(dataset, share)
        told = (tongue.tell(before, np.arange(len(dataset.users))) - scale[0]) / scale[1]
        users = product(told, lore.layer)
        base = fame + lore.charm
        found.append(Leanings(users, items, base, _level(dataset, before, users, items, base, rng)))
    return found[0], found[1]


@dataclass(frozen=True, eq=False)
class _Lore:
    """What is learnt."""

    layer: FloatArray  # [W, D]
    own: FloatArray  # [I, D], of an item's vector what is its own
    by_traits: FloatArray  # [T, D], what follows from its company and its text
    charm: FloatArray  # [I], by which an item draws more than by its fame


class _Tongue:
    """Tells a history as numbers."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        log = dataset.interactions
        self.content = np.hstack([TfidfEncoder(TEXTS).encode(dataset.catalog), _eras(dataset.catalog.years)])
        self.content = self.content[:, self.content.any(axis=0)]
        self.traits = np.hstack([_directions(dataset), self.content])
        self.company = self.traits.shape[1] - self.content.shape[1]
        self.opinion = np.zeros(len(log))
        self.opinion[log.ratings >= liked_from(log.ratings)] = 1
        self.opinion[log.ratings <= disliked_to(log.ratings)] = -1

    def tell(self, before: IntArray, users: IntArray) -> FloatArray:
        """Return what the first `before[user]` rows of each of these users say: [B, W]."""
        log, starts = self.dataset.interactions, self.dataset.starts
        places, rows = self.dataset.rows_of(users)
        age = before[log.users[rows]] - 1 - (rows - starts[log.users[rows]])
        places, rows, age = places[age >= 0], rows[age >= 0], age[age >= 0]
        shape = (len(users), len(self.traits))
        parts = []
        for half in HALVES:
            weights = sparse.csr_array((0.5 ** (age / half), (places, log.items[rows])), shape=shape)
            mass: FloatArray = weights.sum(axis=1)[:, None]
            parts += [(weights @ self.traits) / (mass + 2) ** MASS, np.log1p(mass)]
        if self.opinion.any():
            weights = sparse.csr_array(
                (self.opinion[rows] * 0.5 ** (age / LIKING), (places, log.items[rows])), shape=shape
            )
            mass = abs(weights).sum(axis=1)[:, None]
            parts.append((weights @ self.traits[:, : self.company]) / (mass + 2) ** MASS)
        return np.hstack(parts).astype(np.float32)


def _directions(dataset: Dataset) -> FloatArray:
    """Return the items in the directions that tell best who met what: [I, R]."""
    log = dataset.interactions
    shape = (len(dataset.users), len(dataset.catalog))
    weight = (dataset.popularity + 1.0) ** -FAME
    seen = sparse.csr_array((weight[log.items], (log.users, log.items)), shape=shape)
    directions = weight[:, None] * leading(seen, min(DIRECTIONS, min(shape) - 1), rounds=3).right
    return np.asarray(directions / max(float(np.sqrt((directions**2).sum(axis=1).mean())), 1e-12))


def _eras(years: FloatArray) -> FloatArray:
    """Return how near each item is to each era [I, E]; 0 where no year is known."""
    known = np.isfinite(years)
    if not known.any():
        return np.zeros((len(years), 0))
    low, high = np.quantile(years[known], [0.01, 0.99])
    eras = np.arange(low, high + ERA, ERA)[-16:]
    nearness = np.exp(-0.5 * ((years[:, None] - eras) / ERA) ** 2)
    nearness[~known] = 0
    return nearness


def _fame(dataset: Dataset, share: float) -> FloatArray:
    """Return the log of how often each item was met in this share of every history, beside the mean [I]."""
    log = dataset.interactions
    early = log.places(len(dataset.users)) < _before(dataset, share)[log.users]
    fame = np.bincount(log.items[early], minlength=len(dataset.catalog)) / max(share, 1e-9)
    return np.asarray(np.log((fame + 0.5) / (fame.mean() + 0.5)), dtype=np.float32)


def _before(dataset: Dataset, share: float) -> IntArray:
    """Return how many rows lie before this share of each user's history."""
    return np.floor(np.diff(dataset.starts) * share + 1e-9).astype(np.int64)


def _lessons(
    dataset: Dataset, tongue: _Tongue, cuts: Sequence[float], share: float, rng: np.random.Generator
) -> _Lessons:
    """Return what was told and asked at these cuts, within this share of the histories."""
    log, counts = dataset.interactions, np.diff(dataset.starts)
    places, last = log.places(len(counts)), _before(dataset, share)
    worth = np.where(tongue.opinion > 0, 1.0, LUKEWARM).astype(np.float32)
    worth[np.isnan(log.ratings)] = 1
    wanted = min(len(counts), MOST_LESSONS // len(cuts))
    told, answers, met = [], [], []
    for cut in cuts:
        users = np.sort(rng.choice(len(counts), size=wanted, replace=False)).astype(np.int64)
        before = _before(dataset, cut)
        until = np.minimum(np.ceil(counts * (cut + NEXT) - 1e-9).astype(np.int64), last)
        told.append(tongue.tell(before, users))
        rank, rows = dataset.rows_of(users)
        past = places[rows] < before[log.users[rows]]
        asked = ~past & (places[rows] < until[log.users[rows]])
        shape = (len(users), len(dataset.catalog))
        answers.append(sparse.csr_array((worth[rows[asked]], (rank[asked], log.items[rows[asked]])), shape=shape))
        met.append(
            sparse.csr_array((np.ones(int(past.sum()), np.float32), (rank[past], log.items[rows[past]])), shape=shape)
        )
    every = _Lessons(np.vstack(told), sparse.csr_array(sparse.vstack(answers)), sparse.csr_array(sparse.vstack(met)))
    useful = np.diff(every.answers.indptr) > 0
    if not useful.any():  # histories of one item each: the item itself is all there is to ask for
        return every
    return _Lessons(every.told[useful], every.answers[useful], every.met[useful])


def _taught(
    lessons: _Lessons, traits: FloatArray, fame: FloatArray, lore: _Lore | None, rounds: int, rate: float,
    rng: np.random.Generator, tell: Callable[[float], None],
) -> _Lore:  # fmt: skip
    """Return what answers the lessons best, beginning from what is known.

    Best by the multinomial likelihood over the items not met before, by Adam. An item's vector is one of its own
    and one that follows from who met it and from what is written about it: in a large catalogue most items are the
    answer to hardly any lesson, and lean on what all of them teach.
    """
    count, width = lessons.told.shape
    items = lessons.answers.shape[1]
    if lore is None:
        sizes = (width, items, traits.shape[1])
        small = [(0.05 * rng.normal(size=(size, WIDTH))).astype(np.float32) for size in sizes]
        lore = _Lore(small[0], small[1], small[2], np.zeros(items, dtype=np.float32))
    layer, own, by_traits, charm = weights = [one.copy() for one in (lore.layer, lore.own, lore.by_traits, lore.charm)]
    decay = DOUBT * items / max(float(lessons.answers.sum()), 1.0)
    steepness, wobble = [np.zeros_like(one) for one in weights], [np.zeros_like(one) for one in weights]
    batch = min(BATCH, max(32, count // 8))
    steps = max(rounds * max(1, count // batch), LEAST_STEPS * rounds // ROUNDS)
    order = np.empty(0, dtype=np.int64)
    for step in range(1, steps + 1):
        if len(order) < min(batch, count):
            order = rng.permutation(count)
        rows, order = order[:batch], order[batch:]
        told, answers, met = lessons.told[rows], lessons.answers[rows], lessons.met[rows]
        some, extra = _candidates(answers, items, rng)
        if some is not None:
            answers, met = answers[:, some], met[:, some]
        which = slice(None) if some is None else some
        hidden, vectors = product(told, layer), own[which] + product(traits[which], by_traits)
        odds = product(hidden, vectors.T)
        odds += fame[which] + charm[which] + extra
        chances = _chances(odds, met)
        is_round = step * rounds // steps > (step - 1) * rounds // steps
        if is_round:
            right = np.maximum(chances[_rows(answers), answers.indices], 1e-12)
            tell(float(-(answers.data * np.log(right)).sum() / max(float(answers.data.sum()), 1e-9)))
        wrong = chances * answers.sum(axis=1)[:, None]
        wrong[_rows(answers), answers.indices] -= answers.data
        wrong /= max(float(answers.data.sum()), 1e-9)
        slope = product(wrong.T, hidden)
        slopes = [
            product(told.T, product(wrong, vectors)),
            _spread(slope, which, items),
            product(traits[which].T, slope),
        ]
        slopes.append(_spread(wrong.sum(axis=0), which, items))
        speed = rate * (1 - 0.9 * step / steps)
        for number, (one, gradient) in enumerate(zip(weights, slopes, strict=True)):
            gradient = gradient + decay * one
            steepness[number] += 0.1 * (gradient - steepness[number])
            wobble[number] += 0.01 * (gradient**2 - wobble[number])
            mean, square = steepness[number] / (1 - 0.9**step), wobble[number] / (1 - 0.99**step)
            one -= (speed * mean / (np.sqrt(square) + 1e-7)).astype(np.float32)
    return _Lore(layer, own, by_traits, charm)


def _candidates(answers: sparse.csr_array, items: int, rng: np.random.Generator) -> tuple[IntArray | None, FloatArray]:
    """Return the items to choose between, None for all, and what to add for those that stand for others too."""
    if items <= MOST_ITEMS:
        return None, np.zeros(1, dtype=np.float32)
    right = np.unique(answers.indices)
    others = np.setdiff1d(rng.choice(items, size=MOST_ITEMS // 2, replace=False), right)
    some = np.concatenate([right, others])
    extra = np.zeros(len(some), dtype=np.float32)
    extra[len(right) :] = np.log((items - len(right)) / max(len(others), 1))
    return some, extra


def _chances(odds: FloatArray, met: sparse.csr_array) -> FloatArray:
    """Return the chance of each item not met [B, I], in place."""
    odds -= odds.max(axis=1, keepdims=True)
    np.exp(odds, out=odds)
    odds[_rows(met), met.indices] = 0
    odds /= np.maximum(odds.sum(axis=1, keepdims=True), 1e-30)
    return odds


def _rows(matrix: sparse.csr_array) -> IntArray:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _spread(part: FloatArray, which: IntArray | slice, items: int) -> FloatArray:
    """Return a gradient for all items, 0 for those that were not asked about."""
    if isinstance(which, slice):
        return part
    whole = np.zeros((items, *part.shape[1:]), dtype=part.dtype)
    whole[which] = part
    return whole


def _level(
    dataset: Dataset, before: IntArray, users: FloatArray, items: FloatArray, base: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Return what makes each user's leanings sum to chances over the items he has not met [U]."""
    log, count = dataset.interactions, len(items)
    some = np.arange(count) if count <= MOST_ITEMS else np.sort(rng.choice(count, size=MOST_ITEMS // 2, replace=False))
    place = np.full(count, -1)
    place[some] = np.arange(len(some))
    level = np.empty(len(users), dtype=np.float32)
    for begin in range(0, len(users), 2048):
        block = np.arange(begin, min(begin + 2048, len(users)))
        odds = product(users[block], items[some].T) + base[some]
        rank, rows = dataset.rows_of(block)
        past = (log.places(len(users))[rows] if False else rows - dataset.starts[log.users[rows]]) < before[
            log.users[rows]
        ]
        rank, met = rank[past], place[log.items[rows[past]]]
        odds[rank[met >= 0], met[met >= 0]] = -np.inf
        top = odds.max(axis=1)
        top[~np.isfinite(top)] = 0
        level[block] = -np.log(np.maximum(np.exp(odds - top[:, None]).mean(axis=1), 1e-30)) - top
    return level
