"""Fitted policies and populations, kept from run to run: of the same rows, with the same settings, by the same code.

Each is known by its fingerprint. What took a while to fit is kept in the cache under it and taken from there the
next time; a training that was interrupted goes on from where it was. A policy that observes, or that cannot be saved,
is fitted anew every time.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import simenv
from simenv.dataset import Dataset
from simenv.errors import SimenvError, StoreError, blame
from simenv.policy import Observer, Policy
from simenv.population import Population
from simenv.recommenders.learned import Learned
from simenv.splits import Split
from simenv.store import ABOUT, Savable, read_state, save_policy, settings_of, write_state
from simenv.training import Epoch, Trainable, Training, clock

from .fingerprint import code_hash, files_at, package_versions
from .steps import Step, Watcher

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs at once may fit the same policy twice
    fcntl = None  # type: ignore[assignment]

LOG = logging.getLogger(__name__)
WORTH_KEEPING = 1.0  # seconds of fitting
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


def cache_home(what: str = "fitted") -> Path:
    """Return the folder of what is kept, by default of what was fitted: below SIMENV_CACHE, or the user's home."""
    given = os.environ.get("SIMENV_CACHE")
    return (Path(given).expanduser() if given else Path.home() / ".cache" / "simenv") / what


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

    def learn(folder: Path | None) -> None:
        if isinstance(policy, Trainable):
            _train(policy, label, split, folder, watch)
        else:
            policy.fit(split.train)

    task = _Task(policy, label, f"policy '{label}'", split.train.name, learn)
    seconds, on, mark, reused = _ready(task, fingerprint(policy, split, options), fresh)
    return Fitted(policy, seconds, on, mark, reused)


def fitted_population(
    population: Population,
    name: str,
    train: Dataset,
    *,
    options: Mapping[str, Any],
    keep: bool = True,
    fresh: bool = False,
    watch: Watcher = lambda _: None,
) -> float:
    """Fit a population to the training rows, or let it be as one was that was fitted to the same before.

    Returns the seconds that the fit took, whenever that was. `options` are those it was made with, as a scenario has
    them; without `keep` it is fitted in any case.
    """

    def tell(epoch: Epoch) -> None:
        watch(Step("fitting the users", epoch.done, epoch.total, "epochs", seconds_left=epoch.seconds_left))

    def learn(_: Path | None) -> None:
        if isinstance(population, Trainable):
            population.train(train, Training(None, tell))
        else:
            population.fit(train)

    mark = population_fingerprint(population, name, train, options) if keep else None
    return _ready(_Task(population, f"users '{name}'", f"population '{name}'", train.name, learn), mark, fresh)[0]


def population_fingerprint(population: Population, name: str, train: Dataset, options: Mapping[str, Any]) -> str | None:
    """Return a hash of all that a fitted population follows from; None where it cannot be kept, or not be told."""
    kind = type(population)
    code = code_hash(kind, [name, dict(options)])
    if not isinstance(population, Savable) or code is None:
        return None
    told = [kind.__module__, kind.__qualname__, name, dict(options), code, package_versions(), files_at(dict(options))]
    try:
        made = json.dumps([*told, train.fingerprint], sort_keys=True)
        return hashlib.blake2b(made.encode(), digest_size=16).hexdigest()
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Task:
    """Something to be fitted, and how."""

    made: Any
    label: str
    who: str
    data: str
    learn: Callable[[Path | None], None]  # where a training may be kept, so that it can go on after a stop


_Outcome = tuple[float, str, str | None, bool]  # seconds, day and hour, fingerprint, whether it was kept before


def _ready(task: _Task, mark: str | None, fresh: bool) -> _Outcome:
    """Fit it, or take it as it was kept."""
    if mark is None:
        return _fit(task, None, None)
    folder = cache_home() / mark
    with _alone(folder, task.label) as writable:
        if not writable:
            return _fit(task, mark, None)
        if fresh:  # what was kept stays until there is another
            shutil.rmtree(folder / "learning", ignore_errors=True)
            return _fit(task, mark, folder)
        return _taken(task, mark, folder) or _fit(task, mark, folder)


def fingerprint(policy: Policy, split: Split, options: Mapping[str, Any]) -> str | None:
    """Return a hash of all that a fitted policy follows from; None where it cannot be kept, or not be told."""
    if isinstance(policy, Observer) or not isinstance(policy, Savable):
        return None
    kind: Any = type(policy)
    code = code_hash(kind, dict(options))
    try:
        made = json.dumps([settings_of(policy), dict(options)], sort_keys=True)
    except (TypeError, ValueError):  # made with what cannot be written down, such as a world's truth
        return None
    if code is None:
        return None
    rows = [split.train.fingerprint]
    if isinstance(policy, Trainable):
        rows.append(split.train.only(split.valid).fingerprint)
    files = files_at([settings_of(policy), dict(options)])
    told = [kind.__module__, kind.__qualname__, made, code, package_versions(), files, *rows]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


def _fit(task: _Task, mark: str | None, folder: Path | None) -> _Outcome:
    """Fit it, and keep it in the folder if there is one and it was worth it."""
    begin, on = time.perf_counter(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    learning = None if folder is None else folder / "learning"
    before = 0.0 if learning is None else _spent(learning)
    try:
        with blame(task.who, "fit"):
            task.learn(learning)
    except BaseException:
        if learning is not None and learning.exists():
            with suppress(OSError):
                (learning / SPENT).write_text(json.dumps(before + time.perf_counter() - begin), encoding="utf-8")
        raise
    seconds = before + time.perf_counter() - begin
    kept = folder is not None and seconds >= WORTH_KEEPING and _keep(task, folder, seconds, on)
    if learning is not None:
        shutil.rmtree(learning, ignore_errors=True)
        with suppress(OSError):
            learning.parent.rmdir()  # nothing was kept
    LOG.info("%s: fitted in %s%s", task.label, took(seconds), f", kept as {_short(mark)}" if kept else "")
    if kept:
        forget_oldest(keep=folder)
    return seconds, on, mark, False


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

    if isinstance(policy, Learned):
        watch(Step(f"training {label}", 0, policy.epochs, "epochs", "the first epoch"))
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


def _taken(task: _Task, mark: str, folder: Path) -> _Outcome | None:
    """Make it as it was kept; return None where it was not, or where that is damaged."""
    kept = folder / "policy"
    if not kept.exists():
        return None
    assert isinstance(task.made, Savable)
    label = task.label
    try:
        about, arrays = read_state(kept)
        if about["fingerprint"] != mark:
            raise StoreError("it bears another fingerprint")
        task.made.restore(arrays)
        seconds, on = float(about["seconds"]), str(about["on"])
    except Exception as error:  # a stranger's `restore` may fail in any way
        told = f"{type(error).__name__}: {error}" if not isinstance(error, SimenvError) else str(error)
        LOG.warning("%s: what was kept as %s is damaged, so it is fitted again (%s)", label, _short(mark), told)
        shutil.rmtree(kept, ignore_errors=True)
        return None
    with suppress(OSError):
        os.utime(kept)  # it was used: others are forgotten before it
    LOG.info("%s: reused, fitted on %s in %s (fingerprint %s)", label, on, took(seconds), _short(mark))
    return seconds, on, mark, True


def _keep(task: _Task, folder: Path, seconds: float, on: str) -> bool:
    """Save it under its fingerprint; say so where it cannot be."""
    made, label = task.made, task.label
    assert isinstance(made, Savable)
    try:
        try:
            arrays = made.state()
        except SimenvError as error:  # of another library, perhaps, that knows pickles alone
            LOG.info("%s: not kept: %s", label, error)
            return False
        size = sum(array.nbytes for array in arrays.values())
        if size > MOST_BYTES:
            LOG.info("%s: not kept, %.1f GB is too much", label, size / 1e9)
            return False
        facts = {"fingerprint": folder.name, "label": label, "data": task.data, "seconds": seconds, "on": on}
        if isinstance(made, Policy):
            save_policy(made, folder / "policy", **facts)
        else:
            write_state(folder / "policy", {**facts, "simenv": simenv.__version__}, arrays)
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
    used: float  # when it was used last, in seconds


def kept_policies() -> list[Kept]:
    """Return what lies in the cache, the latest first."""
    found = []
    for folder in sorted(path for path in cache_home().glob("*") if path.is_dir()):
        try:
            about = json.loads((folder / "policy" / ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            about = {}
        try:
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            used = max(place.stat().st_mtime for place in (folder, *folder.iterdir()))
        except OSError:  # somebody is just writing there, or removed it
            continue
        found.append(Kept(folder, about if isinstance(about, dict) else {}, size, used))
    return sorted(found, key=lambda kept: str(kept.about.get("on", "")), reverse=True)


def most_kept() -> int:
    """Return how many bytes the cache may hold: SIMENV_CACHE_GB, a number of gigabytes, or 10 of them."""
    given = os.environ.get("SIMENV_CACHE_GB", "10")
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = -1.0
    if not gigabytes >= 0:
        raise SimenvError(f"SIMENV_CACHE_GB is {given!r}; it must be a number of gigabytes, such as 10")
    return int(min(gigabytes, 1e6) * 1e9)


def forget_oldest(keep: Path | None = None) -> int:
    """Remove what was not used for longest until the cache is no larger than it may be; return how many went.

    The folder to `keep` stays, and so does what is just being fitted.
    """
    found = sorted(kept_policies(), key=lambda kept: kept.used)
    size, most, gone = sum(kept.bytes for kept in found), most_kept(), 0
    for kept in found:
        if size <= most:
            break
        if kept.folder == keep:
            continue
        with _alone(kept.folder) as writable:
            if writable:
                shutil.rmtree(kept.folder, ignore_errors=True)
        if not kept.folder.exists():
            size, gone = size - kept.bytes, gone + 1
    if gone:
        LOG.info("cache: %d forgotten that were not used for longest; it may hold %.1f GB", gone, most / 1e9)
    return gone


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
