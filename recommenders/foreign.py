"""What the adapters to other libraries share: a model by its name, its scores as pages, and the session told."""

import difflib
import importlib
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from scipy import sparse

from simenv.arrays import FloatArray
from simenv.context import Context
from simenv.errors import MissingExtra, SimenvError
from simenv.plugins import load_plugin

from .recommender import WHISPER


def find_model(library: str, name: str, known: Mapping[str, str], methods: Sequence[str]) -> Any:
    """Return one of the library's models by its name, or another class with these methods by `package.module:Name`."""
    if name not in known and ":" not in name:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SimenvError(
            f"{library} has no model '{name}' here; there are {', '.join(known)},"
            f" or another of its kind as package.module:Name{hint}"
        )
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise SimenvError(f"{library} is installed, but cannot be imported ({error})") from error
        raise MissingExtra(f"a model of {library}", library) from None
    if ":" in name:
        return load_plugin(name, f"model of {library}", methods)
    try:
        return getattr(importlib.import_module(known[name]), name)
    except (ImportError, AttributeError) as error:
        raise SimenvError(f"{library}'s {name} cannot be imported ({error})") from error


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
        raise SimenvError(f"{library}'s {name}: {error}") from error
    except Exception as error:  # a stranger's class may fail in any way
        told = ", ".join(f"{key}: {value}" for key, value in options.items()) or "none"
        raise SimenvError(f"{library}'s {name} does not take these options ({told}): {error}") from error


def by_items(context: Context, weights: sparse.csr_array | FloatArray) -> FloatArray:
    """Return the sum [B, I] of what the items of each history, this session included, say for each item."""
    scores = context.profile() @ weights
    return scores.toarray() if sparse.issparse(scores) else np.asarray(scores)


def filled(scores: FloatArray, fame: FloatArray) -> FloatArray:
    """Return the scores [B, I] with the items that a model says nothing of below all others, by fame."""
    said = np.isfinite(scores)
    lowest = np.where(said, scores, np.inf).min(axis=1, keepdims=True)
    below = np.where(np.isfinite(lowest), lowest, 0) - 2 + fame / WHISPER
    return np.where(said, scores, below)
