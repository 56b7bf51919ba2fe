"""What a log tells of its users without a model: last choices to calibrate on, sessions, what is met oftener."""

import numpy as np

from simenv.algebra import solve
from simenv.arrays import FloatArray, IntArray
from simenv.dataset import Dataset, liked_from
from simenv.products import product

from .session_lengths import session_lengths

CALIBRATION_ROWS = 100_000
LAST = 0.8  # the last fifth of a history is kept to calibrate on; then that is learnt from, too
LUKEWARM = 0.5  # what a choice counts that was not liked
MEETING = 0.5  # power of an item's fame by which it is met oftener; declared, for what was met and left no log tells


def meeting_of(dataset: Dataset) -> FloatArray:
    """Return the log of how much oftener each item is met than one drawn blindly [I]."""
    met = MEETING * np.log(dataset.popularity + 1.0)
    return np.asarray(met - np.log(np.exp(met).mean()))


def asked_last(dataset: Dataset, rng: np.random.Generator) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return users and items, the last fifth's choices and as many items never met, which is which, and their worth."""
    log = dataset.interactions
    last = log.places(len(dataset.users)) >= np.floor(np.diff(dataset.starts) * LAST + 1e-9)[log.users]
    rows = np.sort(rng.permutation(np.flatnonzero(last))[:CALIBRATION_ROWS])
    users, ratings = log.users[rows], log.ratings[rows]
    items = np.concatenate([log.items[rows], strangers(dataset, users, rng)])
    worth = np.where((ratings >= liked_from(log.ratings)) | np.isnan(ratings), 1.0, LUKEWARM)
    return np.tile(users, 2), items, np.repeat([1.0, 0.0], len(rows)), np.tile(worth, 2)


def strangers(dataset: Dataset, users: IntArray, rng: np.random.Generator) -> IntArray:
    """Return for each of these users an item drawn from those he never met; from all if there are hardly any."""
    log, count = dataset.interactions, len(dataset.catalog)
    met = np.sort(log.users.astype(np.int64) * count + log.items)
    items = rng.integers(count, size=len(users))
    for _ in range(20):
        pairs = users.astype(np.int64) * count + items
        again = met[np.minimum(np.searchsorted(met, pairs), len(met) - 1)] == pairs
        if not again.any():
            break
        items[again] = rng.integers(count, size=int(again.sum()))
    return items


def logistic(inputs: FloatArray, wanted: FloatArray, worth: FloatArray, *, ridge: float) -> FloatArray:
    """Return the weights of a logistic regression, the constant last, by Newton's method."""
    middle, spread = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-9)
    design = np.hstack([(inputs - middle) / spread, np.ones((len(inputs), 1))])
    weights = np.zeros(design.shape[1])
    penalty = ridge * np.eye(len(weights))
    penalty[-1, -1] = 0
    for _ in range(30):
        chance = 1 / (1 + np.exp(-np.clip(product(design, weights[:, None])[:, 0], -30, 30)))
        slope = product(design.T, (worth * (chance - wanted))[:, None])[:, 0] + np.diag(penalty) * weights
        weighted = design * (worth * chance * (1 - chance))[:, None]
        bend = product(weighted.T, design) + penalty + 1e-9 * np.eye(len(weights))
        step = solve(bend, slope)
        weights -= step
        if np.abs(step).max() < 1e-8:
            break
    plain = weights[:-1] / spread
    return np.append(plain, weights[-1] - (plain * middle).sum())


def patience_of(dataset: Dataset) -> FloatArray:
    """Return how long each user's sessions are, on a log scale: 0 in the middle, 1 a spread above."""
    size = session_lengths(dataset).log
    return ((size - size.mean()) / max(float(size.std()), 1e-9)).clip(-2, 2).astype(np.float32)
