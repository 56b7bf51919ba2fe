"""The errors a user may meet: each says what was wrong, where, and what would be right."""

import linecache
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .distribution import install_hint


class SimenvError(Exception):
    """Something a user can mend; the command line prints it and exits with 2."""


class DataError(SimenvError):
    """A data file or data set is not as it should be."""


class ScenarioError(SimenvError):
    """A scenario, or a setting given on the command line, is not as it should be."""


class PageError(SimenvError):
    """A page that cannot be shown: wrong shape, unknown items, or a place used twice under strict rules."""


class PopulationError(SimenvError):
    """A population's own code failed; whoever asked it is not to blame."""


class RunError(SimenvError):
    """A run directory is missing, damaged, or belongs to another scenario."""


class StoreError(SimenvError):
    """What was kept of a policy is missing, damaged, or another's: it can be fitted again."""


class ChatError(SimenvError):
    """A language model gave no answer: the endpoint refused, was silent for too long, or cannot be reached."""


class BudgetSpent(SimenvError):
    """The run's budget of tokens, money or time is spent: it stops cleanly and can be resumed with more."""


class MissingExtra(SimenvError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency: {install_hint(extra)}")


@contextmanager
def blame(who: str, deed: str) -> Iterator[None]:
    """Turn a stranger's exception into an error that names whose code failed, and where."""
    try:
        yield
    except PopulationError:
        raise
    except SimenvError as error:
        error.args = (f"{who}, {deed}: {error}",)
        raise
    except (Exception, SystemExit) as error:
        raise SimenvError(f"{who} failed in {deed}: {failure(error)}") from error


def failure(error: BaseException) -> str:
    """Return an exception of somebody's code in words: what it was, and the last line of their own that it passed."""
    return f"{type(error).__name__}: {error}{_shown(own_line(error))}"


def own_line(error: BaseException) -> tuple[str, int, str] | None:
    """Return file, line and code of the last frame in a plug-in's own file; None where it passed none.

    A frame of a library counts only where nobody else's is there: the plug-in may itself be installed.
    """
    own: tuple[str, int, str] | None = None
    installed = own
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == "simenv" or _is_under(file, STANDARD):
            continue
        spot = (file, line, linecache.getline(file, line).strip())
        if _is_under(file, INSTALLED):
            installed = spot
        elif Path(file).is_file():
            own = spot
    return own or installed


INSTALLED = tuple(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))
STANDARD = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))


def _is_under(file: str, folders: tuple[str, ...]) -> bool:
    inside = any(Path(file).is_relative_to(folder) for folder in folders) or file.startswith("<frozen")
    return inside and not (folders is STANDARD and any(Path(file).is_relative_to(folder) for folder in INSTALLED))


def _shown(spot: tuple[str, int, str] | None) -> str:
    if spot is None:
        return ""
    file, line, code = spot
    with suppress(ValueError, OSError):
        file = str(Path(file).relative_to(Path.cwd()))
    return f" (at {file}:{line}{f': {code}' if code else ''})"
