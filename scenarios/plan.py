"""How many users and seeds a wanted difference takes, from a pilot run."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from rich.table import Table

from simenv.errors import SimenvError
from simenv.metrics import HEADLINE, Measures
from simenv.power import LEVEL, POWER, detectable, noise, users_needed
from simenv.reports.numbers import MINUS
from simenv.rundir import RunDir

SEEDS = (1, 2, 3, 5, 10)
WIDE = 80  # letters of a terminal that has room for what the pilot showed


@dataclass(frozen=True, slots=True)
class Row:
    """What a comparison of two policies takes."""

    policy: str
    against: str
    difference: float  # that the pilot showed
    detectable: float  # by the pilot itself
    users: tuple[int | None, ...]  # needed for each number of seeds; None where one seed of the pilot does not tell


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pilot tells of the next run."""

    metric: str
    wanted: float
    power: float
    pilot_users: int
    pilot_seeds: int
    seeds: tuple[int, ...]
    rows: Sequence[Row]

    @property
    def users(self) -> tuple[int | None, ...]:
        """The users that all comparisons take, for each number of seeds."""
        columns = zip(*(row.users for row in self.rows), strict=True)
        return tuple(None if None in column else max(filter(None, column)) for column in columns)


def plan(run: RunDir, metric: str, wanted: float, *, power: float = POWER, level: float = LEVEL) -> Plan:
    """Return the users that it takes to see a difference in a metric, in any pair of the pilot's policies."""
    if metric not in HEADLINE:
        raise SimenvError(f"--metric {metric}: there are {', '.join(HEADLINE)}")
    measures = Measures(run)
    pairs = list(combinations(range(len(measures.policies)), 2))
    if not pairs:
        raise SimenvError(f"{run.folder}: one policy alone; a difference takes two")
    values = measures.by_seed(metric)
    rows = []
    for one, other in pairs:
        gaps = values[:, one] - values[:, other]
        found, met = noise(gaps), int(np.isfinite(gaps).any(axis=1).sum())
        share = {"comparisons": len(pairs) * len(HEADLINE), "power": power, "level": level}
        differing = float((np.nan_to_num(np.nanmean(gaps, axis=1)) != 0).mean())
        needed = tuple(
            None
            if count > 1 and np.isnan(found.within)
            else users_needed(found.variance(count), wanted, differing=max(differing, 1 / len(gaps)), **share)  # type: ignore[arg-type]
            for count in SEEDS
        )
        seen = detectable(found.variance(gaps.shape[1]), met, **share)  # type: ignore[arg-type]
        rows.append(
            Row(
                measures.policies[one],
                measures.policies[other],
                float(np.nanmean(np.nanmean(gaps, axis=1))),
                seen,
                needed,
            )
        )
    return Plan(metric, wanted, power, len(measures.users), len(measures.seeds), SEEDS, rows)


def table_of(found: Plan, width: int) -> list[Table | str]:
    """Return the plan to print: a row for each comparison, and what all of them take; below it what it rests on."""
    table = Table(
        box=None, padding=(0, 1), title=f"users needed to see {found.wanted:g} {found.metric}", title_justify="left"
    )
    wide = width >= WIDE
    for name in ("policies", *(("seen", "can see") if wide else ())):
        table.add_column(name, overflow="fold", justify="left" if name == "policies" else "right")
    for count in found.seeds:
        table.add_column(_counted(count, "seed"), justify="right", no_wrap=True)
    for row in found.rows:
        more = (f"{row.difference:+.3g}".replace("-", MINUS), f"{row.detectable:.3g}") if wide else ()
        table.add_row(f"{row.policy} − {row.against}", *more, *map(_number, row.users))
    table.add_row("all of them", *(("", "") if wide else ()), *map(_number, found.users), style="bold")
    told = (
        f"from {found.pilot_users:,} users and {_counted(found.pilot_seeds, 'seed')}; power {found.power:g},"
        f" level {LEVEL:g} shared by {_counted(len(found.rows), 'comparison')} in {len(HEADLINE)} metrics"
    )
    if wide:
        told += "; seen: the pilot's difference; can see: the least that the pilot would show"
    hidden = "" if None not in found.users else "\n-: a pilot with two seeds or more tells how much seeds would save"
    return [table, told + hidden]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"
