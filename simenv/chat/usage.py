"""What a record of answers took: calls and tokens, by the kind of question."""

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

LOG = logging.getLogger(__name__)
COUNT = "SELECT kind, count(*), sum(failed), sum(tokens_in), sum(tokens_out) FROM answers GROUP BY kind ORDER BY kind"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the questions of one kind took; a repair is a call of its own."""

    calls: int
    failed: int  # calls without an answer
    tokens_in: int
    tokens_out: int


def usage(path: Path) -> dict[str, Usage]:
    """Return what is recorded in a file, by the kind of question; {} where there is none, or none that can be read."""
    if not path.is_file():
        return {}
    # A whole record needs no files beside it, so one can be read where nothing may be written.
    whole = not path.with_name(f"{path.name}-wal").exists()
    address = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if whole else ''}"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            return {kind: Usage(*map(int, counts)) for kind, *counts in connection.execute(COUNT)}
    except sqlite3.Error as error:
        LOG.warning("%s: the record of answers cannot be read: %s", path, error)
        return {}
