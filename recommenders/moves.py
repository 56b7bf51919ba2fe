"""How users' vectors move with their histories: what lets a factor model follow a session without learning again."""

import numpy as np

from simenv.algebra import solve
from simenv.arrays import FloatArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.products import product

RIDGE = 1e-3  # of the mean variance: few users must not make a wild map
POWERS = (0.0, 0.5, 1.0)  # of a history's length that its sum may be divided by


def learn_moves(dataset: Dataset, users: FloatArray, items: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what is a user's alone [U, D], what an item says of its users [I, D], and the power to divide by.

    A linear map from the sum of a history's vectors, over a power of its length, to the user's vector is fitted to
    all users who have a history; what it leaves is theirs alone. A newcomer has what all have in common.
    """
    sums, mass = (part.astype(np.float64) for part in everybody(dataset).sums(items))
    known = mass > 0
    if not known.any():
        return np.zeros_like(users), np.zeros_like(items), np.array(0.0)
    target, best = users[known].astype(np.float64), None
    for power in POWERS:
        told = sums[known] / mass[known, None] ** power
        centred, wanted = told - told.mean(axis=0), target - target.mean(axis=0)
        square = product(centred.T, centred)
        ridge = RIDGE * max(np.trace(square) / len(square), 1e-9)
        turn = solve(square + ridge * np.eye(len(square)), product(centred.T, wanted))
        missed = float(((wanted - product(centred, turn)) ** 2).sum())
        if best is None or missed < best[0]:
            best = missed, turn, told, power
    assert best is not None
    _, turn, told, power = best
    own = np.tile(target.mean(axis=0) - product(told.mean(axis=0)[None], turn)[0], (len(users), 1))
    own[known] = target - product(told, turn)
    return own.astype(np.float32), product(items, turn).astype(np.float32), np.array(power)


def moved_vectors(context: Context, own: FloatArray, said: FloatArray, power: FloatArray | float) -> FloatArray:
    """Return each user's vector [B, D], moved by this session as vectors go with histories; zero without any."""
    told, mass = context.sums(said)
    told /= (np.maximum(mass, 1e-9) ** np.float32(power))[:, None]
    told += own[context.users]
    told[mass == 0] = 0
    return told


def everybody(dataset: Dataset) -> Context:
    """Return the context of all users before any page."""
    count = len(dataset.users)
    nothing = np.empty((count, 0), dtype=np.int32)
    numbers = np.arange(count, dtype=np.int32)
    return Context(
        dataset, numbers, np.zeros(count, np.int32), nothing, nothing.astype(np.int8), numbers.astype(np.uint64)
    )
