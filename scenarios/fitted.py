"""Fitted policies, kept from run to run: what was fitted to the same rows, with the same settings, by the same code.

A policy is known by its fingerprint. What took a while to fit is kept in the cache under it and taken from there the
next time; a training that was interrupted goes on from where it was. A policy that observes, or that cannot be saved,
is fitted anew every time.
"""

import hashlib
import inspect
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import islice
from pathlib import Path
from typing import Any

import simenv
import simenv.recommenders
from simenv.errors import SimenvError, StoreError, blame
from simenv.policy import Observer, Policy
from simenv.splits import Split
from simenv.store import ABOUT, Savable, read_state, save_policy, settings_of
from simenv.text import model_folder
from simenv.training import Epoch, Trainable, Training, clock

from .steps import Step, Watcher

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs at once may fit the same policy twice
    fcntl = None  # type: ignore[assignment]

LOG = logging.getLogger(__name__)
WORTH_KEEPING = 1.0  # seconds of fitting
MOST_FILES = 1000  # that an option may point to
MOST_BYTES = 4 * 2**30  # of what was learnt: a larger policy is fitted again
SPENT = "seconds.json"  # beside a training that was interrupted: how long it took so far
SHOWN = 12  # letters of a fingerprint, in words


@dataclass(frozen=True, slots=True)
class Fitted:
    """A policy that is ready, and how it came to be."""

    policy: Policy
    seconds: float  # of fitting, whenever that was
    on: str  # the day and hour of it, in UTC
    fingerprint: str | None  # None where a policy cannot be told from others of its kind
    reused: bool

    def plain(self) -> dict[str, Any]:
        """Return how it came to be, as JSON holds it."""
        return {
            "seconds": round(self.seconds, 3),
            "on": self.on,
            "fingerprint": self.fingerprint,
            "reused": self.reused,
        }


def cache_home() -> Path:
    """Return the folder of fitted policies: below SIMENV_CACHE, or below the user's home."""
    given = os.environ.get("SIMENV_CACHE")
    return (Path(given).expanduser() if given else Path.home() / ".cache" / "simenv") / "fitted"


def fitted(
    policy: Policy,
    label: str,
    split: Split,
    *,
    options: Mapping[str, Any],
    fresh: bool = False,
    watch: Watcher = lambda _: None,
) -> Fitted:
    """Return the policy, fitted to the training rows or as it was kept; with `fresh`, fitted in any case.

    `options` are those it was made with.
    """
    mark = fingerprint(policy, split, options)
    if mark is None:
        return _fit(policy, label, split, None, None, watch)
    folder = cache_home() / mark
    with _alone(folder, label) as writable:
        if not writable:
            return _fit(policy, label, split, mark, None, watch)
        if fresh:  # what was kept stays until there is another
            shutil.rmtree(folder / "learning", ignore_errors=True)
            return _fit(policy, label, split, mark, folder, watch)
        found = _taken(policy, label, mark, folder)
        return found or _fit(policy, label, split, mark, folder, watch)


def fingerprint(policy: Policy, split: Split, options: Mapping[str, Any]) -> str | None:
    """Return a hash of all that a fitted policy follows from; None where it cannot be kept, or not be told."""
    if isinstance(policy, Observer) or not isinstance(policy, Savable):
        return None
    kind: Any = type(policy)
    code = _code(kind)
    try:
        made = json.dumps([settings_of(policy), dict(options)], sort_keys=True)
    except (TypeError, ValueError):  # made with what cannot be written down, such as a world's truth
        return None
    if code is None:
        return None
    rows = [split.train.fingerprint]
    if isinstance(policy, Trainable):
        rows.append(split.train.only(split.valid).fingerprint)
    files = [_lying_at(value) for value in _words([settings_of(policy), dict(options)])]
    told = [kind.__module__, kind.__qualname__, made, code, _versions(), files, *rows]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


@lru_cache
def _code(kind: type) -> str | None:
    """Return a hash of the source that a policy's class rests on: its bases', the files beside it, and simenv's."""
    files: set[Path] = set()
    for base in kind.__mro__:
        with suppress(TypeError):  # built in
            files.add(Path(inspect.getfile(base)))
    try:
        files.update(Path(inspect.getfile(kind)).parent.glob("*.py"))
        for package in (simenv, simenv.recommenders):
            files.update(Path(str(package.__file__)).parent.glob("*.py"))
        digest = hashlib.blake2b(digest_size=16)
        for file in sorted(files, key=lambda file: (file.name, str(file))):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    except (TypeError, OSError):  # typed into a console, or gone
        return None
    return digest.hexdigest()


@lru_cache
def _versions() -> tuple[str, ...]:
    """Return the versions of the packages that simenv's policies may rest on, as far as they are there."""
    found = set()
    with suppress(PackageNotFoundError):
        for line in requires("simenv") or []:
            if not re.search(r"extra == .(dev|bench)", line):
                name = re.split(r"[^A-Za-z0-9._-]", line)[0]
                with suppress(PackageNotFoundError):
                    found.add(f"{name} {version(name)}")
    return tuple(sorted(found))


def _words(options: object) -> Iterator[str]:
    """Yield every text among the options, however deep."""
    if isinstance(options, str) and options:
        yield options
    elif isinstance(options, Mapping):
        yield from _words(list(options.values()))
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _words(value)


def _lying_at(value: str) -> list[tuple[str, int, int]]:
    """Return the names, sizes and times of the files that an option names: a pretrained model, or a package of one."""
    try:
        path = Path(value).expanduser()
        if not path.exists():
            path = model_folder(value)
        files = [path] if path.is_file() else islice((file for file in path.rglob("*") if file.is_file()), MOST_FILES)
        return sorted((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    except (OSError, ValueError, RuntimeError, SimenvError):  # not a path, or not ours to read
        return []


def _fit(policy: Policy, label: str, split: Split, mark: str | None, folder: Path | None, watch: Watcher) -> Fitted:
    """Fit a policy, and keep it in the folder if there is one and it was worth it."""
    begin, on = time.perf_counter(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    learning = None if folder is None else folder / "learning"
    before = 0.0 if learning is None else _spent(learning)
    try:
        with blame(f"policy '{label}'", "fit"):
            if isinstance(policy, Trainable):
                _train(policy, label, split, learning, watch)
            else:
                policy.fit(split.train)
    except BaseException:
        if learning is not None and learning.exists():
            with suppress(OSError):
                (learning / SPENT).write_text(json.dumps(before + time.perf_counter() - begin), encoding="utf-8")
        raise
    seconds = before + time.perf_counter() - begin
    kept = folder is not None and seconds >= WORTH_KEEPING and _keep(policy, label, split, folder, seconds, on)
    if learning is not None:
        shutil.rmtree(learning, ignore_errors=True)
        with suppress(OSError):
            learning.parent.rmdir()  # nothing was kept
    LOG.info("%s: fitted in %s%s", label, took(seconds), f", kept as {_short(mark)}" if kept else "")
    return Fitted(policy, seconds, on, mark, reused=False)


def _spent(learning: Path) -> float:
    """Return the seconds that a training took until it was interrupted; 0 where there was none."""
    try:
        return float(json.loads((learning / SPENT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return 0.0


def _train(policy: Trainable, label: str, split: Split, folder: Path | None, watch: Watcher) -> None:
    """Train a policy, or go on with a training that was interrupted."""

    def tell(epoch: Epoch) -> None:
        scored = "" if epoch.score is None else f", NDCG@10 {epoch.score:.4f}"
        note = f"loss {epoch.loss:.4g}{scored}"
        watch(Step(f"training {label}", epoch.done, epoch.total, "epochs", note, epoch.seconds_left))

    valid = split.valid if len(split.valid) else None
    if folder is not None and folder.exists():
        LOG.info("%s: goes on with a training that was interrupted", label)
    try:
        policy.train(split.train, Training(valid, tell, folder))
    except StoreError as error:
        if folder is None or not folder.exists():
            raise
        LOG.warning("%s: what was kept of its training cannot be used, so it begins anew (%s)", label, error)
        shutil.rmtree(folder, ignore_errors=True)
        policy.train(split.train, Training(valid, tell, folder))


def _taken(policy: Policy, label: str, mark: str, folder: Path) -> Fitted | None:
    """Return the policy as it was kept; None where it was not, or where that is damaged."""
    kept = folder / "policy"
    if not kept.exists():
        return None
    assert isinstance(policy, Savable)
    try:
        about, arrays = read_state(kept)
        if about["fingerprint"] != mark:
            raise StoreError("it bears another fingerprint")
        policy.restore(arrays)
        found = Fitted(policy, float(about["seconds"]), str(about["on"]), mark, reused=True)
    except Exception as error:  # a stranger's `restore` may fail in any way
        told = f"{type(error).__name__}: {error}" if not isinstance(error, SimenvError) else str(error)
        LOG.warning("%s: what was kept as %s is damaged, so it is fitted again (%s)", label, _short(mark), told)
        shutil.rmtree(kept, ignore_errors=True)
        return None
    LOG.info("%s: reused, fitted on %s in %s (fingerprint %s)", label, found.on, took(found.seconds), _short(mark))
    return found


def _keep(policy: Policy, label: str, split: Split, folder: Path, seconds: float, on: str) -> bool:
    """Save a fitted policy under its fingerprint; say so where it cannot be."""
    assert isinstance(policy, Savable)
    try:
        try:
            arrays = policy.state()
        except SimenvError as error:  # of another library, perhaps, that knows pickles alone
            LOG.info("%s: not kept: %s", label, error)
            return False
        size = sum(array.nbytes for array in arrays.values())
        if size > MOST_BYTES:
            LOG.info("%s: not kept, %.1f GB is too much", label, size / 1e9)
            return False
        facts = {"fingerprint": folder.name, "label": label, "data": split.train.name, "seconds": seconds, "on": on}
        save_policy(policy, folder / "policy", **facts)
    except Exception as error:  # a stranger's `state` may fail in any way, and so may a disk
        LOG.warning("%s: fitted, but cannot be kept (%s: %s)", label, type(error).__name__, error)
        return False
    return True


@contextmanager
def _alone(folder: Path, label: str | None = None) -> Iterator[bool]:
    """Hold a fingerprint's folder against other processes; yield whether it is ours to write in.

    With a label it is waited for. Whoever lets go removes the lock's file, so one who waited for it makes sure
    that it is still there.
    """
    path = folder.with_name(f"{folder.name}.lock")
    try:
        file = _locked(path, label)
    except OSError as error:
        if label is not None:
            LOG.warning("%s: nothing can be kept in %s (%s)", label, folder.parent, error.strerror or error)
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(file)


def _locked(path: Path, label: str | None) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl is None:
                return file
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if label is None:
                    raise
                LOG.warning("%s: another process is fitting the same; waiting for it", label)
                fcntl.flock(file, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(file).st_ino:
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its file was removed while we waited


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy in the cache."""

    folder: Path
    about: Mapping[str, Any]  # {} where only a training that was interrupted lies there
    bytes: int


def kept_policies() -> list[Kept]:
    """Return what lies in the cache, the latest first."""
    found = []
    for folder in sorted(path for path in cache_home().glob("*") if path.is_dir()):
        try:
            about = json.loads((folder / "policy" / ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            about = {}
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        found.append(Kept(folder, about if isinstance(about, dict) else {}, size))
    return sorted(found, key=lambda kept: str(kept.about.get("on", "")), reverse=True)


def clear_cache() -> int:
    """Remove all that lies in the cache, but for what is just being fitted; return how many policies went."""
    gone = 0
    for kept in kept_policies():
        with _alone(kept.folder) as writable:
            if writable:
                shutil.rmtree(kept.folder, ignore_errors=True)
                gone += not kept.folder.exists()
    return gone


def took(seconds: float) -> str:
    """Return how long a fit took, in words."""
    return "no time" if seconds < 0.05 else f"{seconds:.1f} s" if seconds < 10 else clock(seconds)


def _short(mark: str | None) -> str:
    return (mark or "")[:SHOWN]
