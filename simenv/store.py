"""Fitted policies on disk: arrays as safetensors, the rest as JSON, never a pickle."""

import inspect
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from . import __version__
from .errors import ScenarioError, SimenvError, StoreError
from .plugins import load_plugin
from .policy import Policy
from .provenance import LEARNT_FROM, LearntFromSimulation, plain_sources, read_sources, sources_of

Arrays: TypeAlias = dict[str, NDArray[Any]]
ABOUT, ARRAYS = "policy.json", "arrays.safetensors"


@runtime_checkable
class Savable(Protocol):
    """A policy or population that can be kept: what it learnt is a set of arrays."""

    def state(self) -> Arrays:
        """Return all that `recommend` needs, but for the settings."""
        ...

    def restore(self, arrays: Arrays) -> None:
        """Be as the policy was whose state this is."""
        ...


def parameters_of(kind: Any) -> dict[str, inspect.Parameter]:
    """Return what a class is made with, by name.

    `**options` are the fields of its `options_type`, a dataclass, where it has one; else those of its base.
    """
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__ if inspect.isclass(kind) else [kind]:
        if "options_type" in vars(base):
            return found | _own(inspect.signature(base)) | _own(inspect.signature(vars(base)["options_type"]))
        taken = inspect.signature(base).parameters.values()
        found |= {one.name: one for one in taken if one.kind is not one.VAR_KEYWORD and one.name not in found}
        if not any(one.kind is one.VAR_KEYWORD for one in taken):
            break
    return found


def savable(made: object, label: str) -> Savable:
    """Return what can be kept, as that, or say that it can't."""
    if not isinstance(made, Savable):
        raise SimenvError(f"'{label}' cannot be saved: it has no state() and restore()")
    return made


def _own(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    return {one.name: one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD}


def takes_any(kind: Any) -> bool:
    """Tell whether a class takes options that `parameters_of` cannot name."""
    for base in kind.__mro__ if inspect.isclass(kind) else [kind]:
        if "options_type" in vars(base) or base is object:
            return False
        if not any(one.kind is one.VAR_KEYWORD for one in inspect.signature(base).parameters.values()):
            return False
    return True


def options_of(kind: Any) -> list[str]:
    """Return the names of the options that a class is made with."""
    return list(parameters_of(kind))


def settings_of(policy: object) -> dict[str, Any]:
    """Return the options that a policy was made with: each stands as an attribute of its name."""
    return {name: _plain(getattr(policy, name)) for name in options_of(type(policy)) if hasattr(policy, name)}


def _plain(value: object) -> object:
    """Return a NumPy number as Python's own, and a path as text."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def save_policy(policy: Policy, folder: Path, **facts: Any) -> None:
    """Write a fitted policy into a folder of its own, whole or not at all; `facts` are kept beside it."""
    if not isinstance(policy, Savable):
        raise SimenvError(f"{type(policy).__name__} cannot be saved: it has no state() and restore()")
    kind, folder = type(policy), Path(folder)
    for name, value in settings_of(policy).items():
        try:
            json.dumps(value)
        except TypeError:
            raise SimenvError(
                f"{kind.__name__} cannot be saved: its option {name} is a {type(value).__name__}, no JSON"
            ) from None
    about = {
        "policy": f"{kind.__module__}:{kind.__qualname__}",
        "settings": settings_of(policy),
        "simenv": __version__,
        **facts,
    }
    if sources_of(policy):
        about[LEARNT_FROM] = plain_sources(sources_of(policy))
    write_state(folder, about, policy.state())


def load_policy(folder: Path) -> Any:
    """Return the policy that was saved in a folder; it recommends what the saved one did.

    A class that is not simenv's own is imported from the module that the folder names, as a scenario's
    `package.module:Name` is: load what you trust, or do so within `simenv.plugins.importing(allowed=False)`.
    """
    folder = Path(folder)
    about, arrays = read_state(folder)
    try:
        kind = load_plugin(str(about.get("policy", "")), "policy", ("recommend", "state", "restore"))
    except ScenarioError as error:
        raise StoreError(f"{folder}: cannot make what is kept here: {error}") from error
    try:
        policy = kind(**about.get("settings", {}))
        policy.restore(arrays)
        if isinstance(policy, LearntFromSimulation):
            policy.simulated_sources = read_sources(about, folder)
    except (AttributeError, TypeError, ValueError, KeyError, RuntimeError) as error:
        raise StoreError(
            f"{folder}: cannot make '{about.get('policy')}' of what is kept here"
            f" ({type(error).__name__}: {error}); fit it again"
        ) from error
    return policy


def write_state(folder: Path, about: Mapping[str, Any], arrays: Arrays) -> None:
    """Write JSON and arrays into a folder of their own, whole or not at all."""
    if folder.is_dir():
        others = sorted(file.name for file in folder.iterdir() if file.name not in (ABOUT, ARRAYS))
        if others:
            raise StoreError(f"{folder}: holds {others[0]}, which would be lost; give a folder of its own")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".unfinished", dir=folder.parent))
    except OSError as error:
        raise SimenvError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        (fresh / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, fresh / ARRAYS)
        old = fresh.with_suffix(".old")
        if folder.exists():
            folder.replace(old)
        try:
            fresh.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def read_state(folder: Path) -> tuple[dict[str, Any], Arrays]:
    """Return the JSON and the arrays that `write_state` left in a folder."""
    about = read_about(folder)
    try:
        return about, load_file(folder / ARRAYS)
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(f"{folder}: damaged ({type(error).__name__}: {error}); delete it and fit again") from error


def read_about(folder: Path) -> dict[str, Any]:
    """Return the JSON that `write_state` left in a folder, or say that nothing was saved there."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        there = (folder / ARRAYS).is_file()
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder}: damaged ({type(error).__name__}: {error}); delete it and fit again") from error
    if not there:
        raise StoreError(f"{folder}: no saved policy here; there would be {ABOUT} and {ARRAYS}")
    if not isinstance(about, dict):
        raise StoreError(f"{folder / ABOUT}: not a policy's description; delete the folder and fit again")
    return about
