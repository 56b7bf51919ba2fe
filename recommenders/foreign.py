"""What the adapters to other libraries share: a model by its name, its scores as pages, and the session told."""

import difflib
import importlib
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray
from simenv.context import Context
from simenv.dataset import Dataset
from simenv.errors import MissingExtra, SimenvError

from .recommender import WHISPER, seen_matrix

RIDGE = 1e-3  # of the mean variance: few users must not make a wild map
POWERS = (0.0, 0.5, 1.0)  # of a history's length that its sum may be divided by


def find_model(library: str, name: str, known: Mapping[str, str]) -> Any:
    """Return one of the library's models by its name, or a stranger's by `package.module:Name`."""
    if name not in known and ":" not in name:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SimenvError(
            f"{library} has no model '{name}' here; there are {', '.join(known)},"
            f" or another of its kind as package.module:Name{hint}"
        )
    module, _, kind = name.partition(":") if ":" in name else (known[name], "", name)
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise SimenvError(f"{library} is installed, but cannot be imported ({error})") from None
        raise MissingExtra(f"a model of {library}", library) from None
    try:
        return getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise SimenvError(f"{library}'s {kind} cannot be imported ({error})") from None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let whatever draws from Python's, NumPy's and torch's common generators draw by this seed, and nobody else."""
    torch = sys.modules.get("torch")
    plain, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002  # the libraries draw from these
    with torch.random.fork_rng(devices=[]) if torch else nullcontext():
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        if torch:
            torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(arrays)  # noqa: NPY002


@contextmanager
def making(library: str, name: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Turn whatever a model says of its options into an error that names both."""
    try:
        yield
    except SimenvError as error:
        raise SimenvError(f"{library}'s {name}: {error}") from None
    except Exception as error:  # a stranger's class may fail in any way
        told = ", ".join(f"{key}: {value}" for key, value in options.items()) or "none"
        raise SimenvError(f"{library}'s {name} does not take these options ({told}): {error}") from None


def by_items(context: Context, weights: sparse.csr_array | FloatArray) -> FloatArray:
    """Return the sum [B, I] of what the items of each history, this session included, say for each item."""
    scores = context.profile() @ weights
    return scores.toarray() if sparse.issparse(scores) else np.asarray(scores)


def learn_moves(dataset: Dataset, users: FloatArray, items: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what is a user's alone [U, D], what an item says of its users [I, D], and the power to divide by.

    A linear map from the sum of a history's vectors, over a power of its length, to the user's vector is fitted to
    all users who have a history; what it leaves is theirs alone. A newcomer has what all have in common.
    """
    seen = seen_matrix(dataset)
    sums, mass = seen @ items.astype(np.float64), np.asarray(seen.sum(axis=1)).reshape(-1)
    known = mass > 0
    if not known.any():
        return np.zeros_like(users), np.zeros_like(items), np.array(0.0)
    target, best = users[known].astype(np.float64), None
    for power in POWERS:
        told = sums[known] / mass[known, None] ** power
        centred, wanted = told - told.mean(axis=0), target - target.mean(axis=0)
        square = centred.T @ centred
        ridge = RIDGE * max(np.trace(square) / len(square), 1e-9)
        turn = np.linalg.solve(square + ridge * np.eye(len(square)), centred.T @ wanted)
        missed = float(((wanted - centred @ turn) ** 2).sum())
        if best is None or missed < best[0]:
            best = missed, turn, told, power
    assert best is not None
    _, turn, told, power = best
    own = np.tile(target.mean(axis=0) - told.mean(axis=0) @ turn, (len(users), 1))
    own[known] = target - told @ turn
    return own.astype(np.float32), (items @ turn).astype(np.float32), np.array(power)


def moved_vectors(context: Context, own: FloatArray, said: FloatArray, power: FloatArray) -> FloatArray:
    """Return each user's vector [B, D], moved by this session as vectors go with histories; zero without any."""
    profile = context.profile()
    mass = np.asarray(profile.sum(axis=1)).reshape(-1, 1)
    told = (profile @ said) / np.maximum(mass, 1e-9) ** float(power)
    return np.where(mass > 0, own[context.users] + told, 0).astype(np.float32)


def filled(scores: FloatArray, fame: FloatArray) -> FloatArray:
    """Return the scores [B, I] with the items that a model says nothing of below all others, by fame."""
    said = np.isfinite(scores)
    lowest = np.where(said, scores, np.inf).min(axis=1, keepdims=True)
    below = np.where(np.isfinite(lowest), lowest, 0) - 2 + fame / WHISPER
    return np.where(said, scores, below)
