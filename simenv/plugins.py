"""Plug-ins named as `package.module:Name`: whether their code may be imported, and what they are declared to be.

Importing a module runs it, so a name of this form is code. `importing` says for a while whether such names are
admitted, and in which folders their modules lie; what simenv itself and installed plug-ins (entry points) bring is
always admitted. An object is called only when it is declared to be what is wanted: a class with the contract's
methods, or a function whose return annotation is such a class.
"""

import importlib
import inspect
import sys
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .errors import ScenarioError, failure

GROUPS = {"policy": "simenv.policies", "population": "simenv.populations"}  # of entry points
METHODS = {"policy": ("fit", "recommend"), "population": ("fit", "enter")}  # of the contracts


@dataclass(frozen=True, slots=True)
class CodeAccess:
    """Whether names of the form `package.module:Name` are admitted, and where else their modules may lie."""

    allowed: bool = True
    folders: tuple[Path, ...] = ()  # searched after everything that is installed


_UNLESS_TOLD = CodeAccess()
_ACCESS: ContextVar[CodeAccess] = ContextVar("simenv_code_access", default=_UNLESS_TOLD)


@contextmanager
def importing(*, allowed: bool, folders: Sequence[Path] = ()) -> Iterator[None]:
    """Admit names of the form `package.module:Name` inside the `with` block, or refuse them.

    Modules in `folders` are found only once such a name is used, and never before an installed one.
    """
    before = _ACCESS.set(CodeAccess(allowed, tuple(folders)))
    try:
        yield
    finally:
        _ACCESS.reset(before)


def load_plugin(path: str, kind: str, methods: Sequence[str] = ()) -> Any:
    """Return the class or factory at `package.module:Name`, checked before anything of it is called.

    Parameters
    ----------
    path
        Such as `mine:Newest`.
    kind
        What it is to be, in words: policy, population, or what another library calls it.
    methods
        Those that its class must have; of a policy or population the contract's.

    Raises
    ------
    ScenarioError
        If its code is not admitted here, cannot be imported, or is not declared as what it should be.
    """
    methods = methods or METHODS[kind]
    module, _, name = path.partition(":")
    if not (module and name):
        raise ScenarioError(f"{kind} '{path}': write it as package.module:Name")
    access = _ACCESS.get()
    if not (access.allowed or _is_ours(module) or _is_installed(path, kind)):
        raise ScenarioError(
            f"{kind} '{path}' is code: to make it, the module {module} is imported and run. Folders of runs, trainings"
            " and models may come from others, so only what simenv and installed plug-ins name is taken from them;"
            " if you know whose code it is, add --allow-code"
        )
    found = _imported(module, path, kind, access)
    if not hasattr(found, name):
        where = getattr(found, "__file__", None)
        raise ScenarioError(f"{kind} '{path}': module {module}{f' ({where})' if where else ''} has no {name}")
    made = getattr(found, name)
    if not is_declared(made, methods):
        raise ScenarioError(
            f"{kind} '{path}': it is {_noun(made)}, and no {kind}; name a class with the methods"
            f" {' and '.join(methods)}, or a function whose return annotation is such a class"
        )
    return made


def is_declared(made: object, methods: Sequence[str]) -> bool:
    """Tell whether an object is a class with these methods, or a function that is annotated to return one."""
    if inspect.isfunction(made):
        try:
            made = typing.get_type_hints(made).get("return")
        except (NameError, TypeError, AttributeError):  # an annotation that means nothing where it stands
            return False
    return inspect.isclass(made) and all(callable(getattr(made, method, None)) for method in methods)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "simenv"


def _is_installed(path: str, kind: str) -> bool:
    """Tell whether an installed package offers this very object by an entry point."""
    return kind in GROUPS and any(point.value == path for point in entry_points(group=GROUPS[kind]))


def _imported(module: str, path: str, kind: str, access: CodeAccess) -> Any:
    if access.allowed:
        for folder in map(str, access.folders):
            if folder not in sys.path:
                sys.path.append(folder)  # last: what is installed goes first
        importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a plug-in's module may fail in any way
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        places = " and ".join(str(folder.resolve()) for folder in access.folders)
        hint = f"; it is neither installed nor in {places}" if missing and places else ""
        raise ScenarioError(f"{kind} '{path}': cannot import {module}: {failure(error)}{hint}") from error


def _noun(made: object) -> str:
    if inspect.isclass(made):
        return "a class without them"
    return "a function" if callable(made) else f"a {type(made).__name__}"
