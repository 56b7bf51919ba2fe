"""What kept results follow from besides data and options: code, versions, and files that options point to.

All of simenv counts, in every wing and its prompts, and the whole package of every plug-in that is named: a key that is
changed too often costs a fit, one that is not changed costs the truth.
"""

import hashlib
import importlib.machinery
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from itertools import islice
from pathlib import Path

from simenv.distribution import requirements
from simenv.errors import SimenvError
from simenv.plugins import GROUPS
from simenv.text import model_folder

OURS = ("simenv", "simenv.agents", "simenv.recommenders", "simenv.reports", "simenv.scenarios")
COUNTS = (".py", ".txt")  # kinds of files that results follow from: code and prompts
MOST_FILES = 1000  # that an option may point to


def code_hash(kind: type, options: object = None) -> str | None:
    """Return a hash of the source that a class rests on; None where that cannot be read.

    That is all of simenv, the whole package of the class (of a single module the files beside it), the files of its
    bases, and the packages of all plug-ins that the options name.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(_our_hash().encode())
    try:
        own = _files_of(kind.__module__, Path(inspect.getfile(kind)))
        bases = [Path(inspect.getfile(base)) for base in kind.__mro__ if base.__module__ != "builtins"]
    except (TypeError, OSError):  # typed into a console, or gone
        return None
    try:
        for module in [*own, *(file for name in named_modules(options) for file in _files_of(name)), *bases]:
            digest.update(module.name.encode() + b"\0" + module.read_bytes() + b"\0")
    except OSError:
        return None
    return digest.hexdigest()


@lru_cache
def _our_hash() -> str:
    """Return a hash of all of simenv; read once in a process."""
    digest = hashlib.blake2b(digest_size=16)
    for package in OURS:
        for folder in _folders(package):
            for file in _below(folder):
                digest.update(f"{package}/{file.relative_to(folder).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _files_of(module: str, file: Path | None = None) -> list[Path]:
    """Return the files of the package that a module belongs to; where it belongs to none, those beside it."""
    top = module.partition(".")[0]
    if top == "simenv":
        return []
    folders = _folders(top)
    if folders and (file is None or any(file.is_relative_to(folder) for folder in folders)):
        return [found for folder in folders for found in _below(folder)]
    if file is None:
        spec = _spec(top)
        file = Path(spec.origin) if spec is not None and spec.origin else None
    return [] if file is None else sorted(file.parent.glob("*.py"))


def _folders(package: str) -> list[Path]:
    spec = _spec(package)
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, "__spec__", None) is not None:
        return loaded.__spec__
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def _below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix in COUNTS and "__pycache__" not in file.parts)


def named_modules(options: object) -> list[str]:
    """Return the modules of the plug-ins that options name, by path or by the name of an entry point."""
    offered = {point.name: point.value for group in GROUPS.values() for point in entry_points(group=group)}
    paths = [offered.get(word, word) for word in words_in(options)]
    return sorted({path.partition(":")[0] for path in paths if re.fullmatch(r"[\w.]+:\w+", path)})


@lru_cache
def package_versions() -> tuple[str, ...]:
    """Return the versions of Python and of the packages that simenv may rest on, as far as they are there."""
    found = {f"python {sys.version_info.major}.{sys.version_info.minor}"}
    for line in requirements():
        if not re.search(r"extra == .(dev|bench)", line):
            name = re.split(r"[^A-Za-z0-9._-]", line)[0]
            with suppress(PackageNotFoundError):
                found.add(f"{name} {version(name)}")
    return tuple(sorted(found))


def words_in(options: object) -> Iterator[str]:
    """Yield every text among the options, however deep."""
    if isinstance(options, str) and options:
        yield options
    elif isinstance(options, Mapping):
        yield from words_in(list(options.values()))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from words_in(value)


def files_at(options: object) -> list[list[tuple[str, int, int]]]:
    """Return the names, sizes and times of the files that options point to: pretrained models, or packages of them."""
    return [_lying_at(word) for word in words_in(options)]


def _lying_at(value: str) -> list[tuple[str, int, int]]:
    try:
        path = Path(value).expanduser()
        if not path.exists():
            path = model_folder(value)
        files = [path] if path.is_file() else islice((file for file in path.rglob("*") if file.is_file()), MOST_FILES)
        return sorted((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    except (OSError, ValueError, RuntimeError, SimenvError):  # not a path, or not ours to read
        return []
