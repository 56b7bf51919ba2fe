"""The door that data come through: every problem names its file, its row and the remedy."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from simenv.errors import DataError

CORRECT = "correct or drop the row"


def problem(file: str, what: str, remedy: str, place: str = "", more: int = 0) -> str:
    """Return the one line that tells a user of a problem; `more` other rows share it."""
    where = f"{file}, {place}" if place else file
    others = f" (and {more} more like it)" if more else ""
    return f"{where}: {what}{others}; {remedy}"


class Door:
    """Where data come in: the first problem stops the reading."""

    patience = 100  # rows still looked at after a problem, to tell a bad row from a bad column

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()  # rows, by the reason

    def refuse(self, file: str, what: str, remedy: str, place: str = "", more: int = 0, reason: str = "") -> None:  # noqa: ARG002
        """Raise the problem; other doors let the other rows in. The `reason` is the same for all rows of its kind."""
        raise DataError(problem(file, what, remedy, place, more))

    def leave_out(self, reason: str, count: int) -> None:
        """Take note of rows that are left out because an option says so."""
        if count:
            self.left_out[reason] += count


class GatheringDoor(Door):
    """Notes each problem and lets the other rows in, so that one reading finds them all."""

    patience = 1 << 62

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []

    def refuse(self, file: str, what: str, remedy: str, place: str = "", more: int = 0, reason: str = "") -> None:  # noqa: ARG002
        """Note the problem."""
        self.problems.append(problem(file, what, remedy, place, more))


class DroppingDoor(Door):
    """Counts the rows that cannot be read, by the reason, and lets the others in."""

    patience = 1 << 62

    def refuse(self, file: str, what: str, remedy: str, place: str = "", more: int = 0, reason: str = "") -> None:  # noqa: ARG002
        """Count the rows."""
        self.leave_out(reason or what, more + 1)


STRICT = Door()  # keeps nothing but counts, which nobody reads


def shown(path: Path) -> str:
    """Return the path as a user may see it: as given, with `~` for the home directory."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)


def need_file(path: Path, remedy: str = "give the folder that holds it") -> Path:
    """Return the path of a file that is there and not empty."""
    if path.is_dir():
        raise DataError(problem(shown(path), "a folder, where a file is due", "give one of its files"))
    if not path.is_file():
        raise DataError(problem(shown(path), "no such file", remedy))
    if not path.stat().st_size:
        raise DataError(problem(shown(path), "the file is empty", "fetch or export it again"))
    return path


def need_columns(path: Path, there: Sequence[str], needed: Iterable[str]) -> None:
    """Raise where a column is missing."""
    for column in needed:
        if column not in there:
            raise DataError(problem(shown(path), f"no column '{column}'", f"its columns are {', '.join(there)}"))


def need_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise unless the option has one of these values."""
    if value not in choices:
        raise DataError(f"{option}={value}: no such choice; there are {', '.join(choices)}")
