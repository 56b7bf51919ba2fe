"""The errors a user may meet: each says what was wrong, where, and what would be right."""

from collections.abc import Iterator
from contextlib import contextmanager


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
        super().__init__(f"{what} needs an optional dependency: pip install 'simenv[{extra}]'")


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
        raise SimenvError(f"{who} failed in {deed}: {type(error).__name__}: {error}") from error
