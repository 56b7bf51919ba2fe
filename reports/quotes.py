"""What users said on leaving, in their own words: a few for each policy and cause, chosen by rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .exits import UNNAMED
from .numbers import count, number
from .standings import Standings
from .svg import inks

MOST_CAUSES = 5  # a policy
MOST_LETTERS = 420  # a quote


@dataclass(frozen=True, slots=True)
class Quote:
    """What one user said on leaving."""

    place: str  # lowest, middle or highest
    figure: str  # what he gave the session
    words: str
    speaker: str


@dataclass(frozen=True, slots=True)
class Farewells:
    """Those who left for one cause."""

    cause: str
    sessions: str
    quotes: Sequence[Quote]


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said of one policy."""

    policy: str
    ink: str
    farewells: Sequence[Farewells]
    more: int  # causes that are left out


def spoken(pages: pa.Table, stands: Standings) -> list[Spoken]:
    """Return what users said of each policy on leaving, commonest cause first; [] where nobody said anything.

    Of each cause come the lowest verdict, that nearest to the median, and the highest; the first in the log's order
    where there are equals. Satisfaction with the last page stands in where nobody of a cause was asked for a verdict.
    """
    left = pages.filter(pages["exit"])
    if "words" not in left.column_names or left["words"].null_count == len(left):
        return []
    seeds = len(pc.unique(pages["seed"]))
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in left.filter(pc.is_valid(left["words"])).to_pylist():
        if row["words"].strip():
            groups.setdefault(row["policy"], {}).setdefault(row["exit_cause"] or UNNAMED, []).append(row)
    colours, found = inks(stands), []
    for policy in [policy for policy in stands.policies if policy in groups]:
        causes = sorted(groups[policy].items(), key=lambda pair: (-len(pair[1]), pair[0]))
        told = [Farewells(cause, count(len(rows)), _chosen(rows, seeds > 1)) for cause, rows in causes[:MOST_CAUSES]]
        found.append(Spoken(policy, colours[policy], told, len(causes) - len(told)))
    return found


def shortened(words: str, most: int) -> str:
    """Return the words in one line, cut between two of them where there are too many."""
    words = " ".join(words.split())
    return words if len(words) <= most else f"{words[: most - 1].rsplit(' ', 1)[0]} …"


def _chosen(rows: list[dict[str, Any]], several_seeds: bool) -> list[Quote]:
    asked = [row for row in rows if row.get("verdict") is not None]
    kind = "verdict" if asked else "satisfaction"
    order = sorted(asked or rows, key=lambda row: float(row[kind]))  # stable: equals stay in the log's order
    middle = median(float(row[kind]) for row in order)
    inner = order[1:-1]
    picks = [("lowest", order[0])]
    if inner:
        picks.append(("middle", min(inner, key=lambda row: abs(float(row[kind]) - middle))))
    if len(order) > 1:
        highest = float(order[-1][kind])
        last = next(row for row in order[1:] if float(row[kind]) == highest and row is not picks[-1][1])
        picks.append(("highest", last))
    return [
        Quote(
            place if len(order) > 1 else "the only one",
            f"{kind} {number(float(row[kind]), 0.0, 1.0).removesuffix('.0')}",
            shortened(row["words"], MOST_LETTERS),
            f"user {row['user_id']}, {f'seed {seed}, ' if several_seeds else ''}page {row['page'] + 1}",
        )
        for place, row in picks
        for seed in [row["seed"]]
    ]
