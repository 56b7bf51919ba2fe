"""What a record of answers took: calls and tokens, by the kind of question."""

import logging
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

LOG = logging.getLogger(__name__)
COUNT = "SELECT kind, count(*), sum(failed), sum(tokens_in), sum(tokens_out) FROM answers GROUP BY kind ORDER BY kind"
KNOWS = "SELECT 1 FROM sqlite_schema WHERE name = 'spending'"  # records of version 1 know answers alone
SPENT = (
    "SELECT kind, count(*), sum(tokens_in), sum(tokens_out), sum(counted = 'at most') FROM spending"
    " GROUP BY kind ORDER BY kind"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the questions of one kind took; a repair is a question of its own.

    Tokens are those of every request: of attempts that failed and of answers that could not be read, too.
    """

    calls: int  # questions; of what is no question on record, such as a probe, requests
    failed: int  # questions without an answer
    tokens_in: int
    tokens_out: int
    broke_off: int = 0  # requests of which nothing came back: their tokens are the most that they can have taken


def usage(path: Path) -> dict[str, Usage]:
    """Return what is recorded in a file, by the kind of question; {} where there is none, or none that can be read."""
    if not path.is_file():
        return {}
    # A whole record needs no files beside it, so one can be read where nothing may be written.
    whole = not path.with_name(f"{path.name}-wal").exists()
    address = f"{path.resolve().as_uri()}?mode=ro{'&immutable=1' if whole else ''}"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            found = {kind: Usage(*map(int, counts)) for kind, *counts in connection.execute(COUNT)}
            if connection.execute(KNOWS).fetchone():
                for kind, requests, *tokens in connection.execute(SPENT):
                    asked = found.get(kind, Usage(requests, 0, 0, 0))
                    found[kind] = Usage(asked.calls, asked.failed, *map(int, tokens))
            return dict(sorted(found.items()))
    except sqlite3.Error as error:
        LOG.warning("%s: the record of answers cannot be read: %s", path, error)
        return {}
