"""Who stands where: the policies' metrics, their differences, and what may be called best.

The oracle and the anti-oracle know the truth: they show about the most and the fewest likes that pages can get, and
contest nothing.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from simenv.errors import RunError
from simenv.intervals import LEAST_P
from simenv.metrics import METRICS, OFFLINE, knows_truth, metric_of
from simenv.rundir import RunDir

MAIN = "N_like"
CHANCE = "by chance"  # what any order would give on average: a bound that nobody has to know the truth for
CERTAIN = 0.05  # a corrected p below this tells two policies apart


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over users and its interval, each None where it could not be told."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """The difference between two policies on the same users: `policy` minus `against`."""

    metric: str
    policy: str
    against: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    n: int

    @property
    def at_floor(self) -> bool:
        """Whether the p-value is the least that the test can give, so that the true one may lie below."""
        return self.p is not None and self.p <= LEAST_P * (1 + 1e-9)

    @property
    def tells_apart(self) -> bool:
        """Whether the difference holds after correction for all comparisons made."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return False
        return self.p_holm is not None and self.p_holm < CERTAIN

    def turned(self) -> "Pair":
        """Return the same comparison seen from the other policy."""
        difference, low, high = (_minus(value) for value in (self.difference, self.high, self.low))
        return Pair(self.metric, self.against, self.policy, difference, low, high, self.p, self.p_holm, self.n)


@dataclass(frozen=True)
class Standings:
    """The policies of a run, what was measured of them, and how they differ."""

    estimates: Mapping[str, Mapping[str, Estimate]]  # by policy, by metric
    pairs: Mapping[tuple[str, str, str], Pair]  # by metric, policy, against; both ways round
    contestants: list[str]  # best first on the main metric
    bounds: list[str]
    colours: Mapping[str, int]  # each policy's place among the run's contestants, or among its bounds
    main: str = MAIN
    digits: int | None = None  # after the point; by the intervals unless told
    in_percent: bool = False  # whether shares are told times 100
    least_users: int = 0  # that a mean, and a difference, must be of before anything is called best

    @property
    def policies(self) -> list[str]:
        """All policies: contestants best first, then the bounds."""
        return [*self.contestants, *self.bounds]

    @property
    def metrics(self) -> list[str]:
        """Every metric measured: the main one first, then in the order of the glossary, cut-offs by size."""
        found = {metric for row in self.estimates.values() for metric in row}
        known = [*METRICS, *OFFLINE]
        first = self.main if "@" not in self.main else ""  # cut-offs of one kind stay side by side
        return sorted(found, key=lambda name: (name != first, _place(known, name), _cutoff(name), name))

    @property
    def leader(self) -> str | None:
        """The contestant with the highest mean on the main metric, or None where no mean is known."""
        best = self.best(self.main)
        return best[0] if best else None

    def estimate(self, policy: str, metric: str) -> Estimate:
        """Return what was measured, or an estimate of nothing."""
        return self.estimates.get(policy, {}).get(metric, Estimate(None))

    def width(self, metric: str) -> float | None:
        """Return the usual width of this metric's intervals, so that a column keeps one number of digits."""
        if self.digits is not None:
            return float(10.0 ** (1 - self.digits))
        row = [self.estimate(policy, metric) for policy in self.contestants or self.bounds]
        widths = [e.high - e.low for e in row if e.low is not None and e.high is not None]
        return median(widths) if widths else None

    def best(self, metric: str) -> list[str]:
        """Return the best contestant and, after it, those that cannot be told from it; [] if none is better.

        Two are told apart by their difference on the same users alone, never by whether their intervals overlap.
        """
        higher = metric_of(metric).higher_is_better
        known = [policy for policy in self.contestants if self.estimate(policy, metric).mean is not None]
        if higher is None or not known:
            return []
        order = sorted(known, key=lambda policy: self._rank(policy, metric, higher))
        first = order[0]
        if self.least_users and self._fewest(first, metric) < self.least_users:
            return []
        return [first, *(other for other in order[1:] if not self.differ(first, other, metric))]

    def _fewest(self, first: str, metric: str) -> int:
        """Return how many users the least known contestant's mean, or difference from the first, is of."""
        pairs = [self.pairs.get((metric, first, other)) for other in self.contestants if other != first]
        counts = [self.estimate(policy, metric).n for policy in self.contestants]
        return min([*counts, *(0 if pair is None else pair.n for pair in pairs)])

    def differ(self, one: str, other: str, metric: str) -> bool:
        """Whether two policies can be told apart on this metric."""
        pair = self.pairs.get((metric, one, other))
        return pair is not None and pair.tells_apart

    def _rank(self, policy: str, metric: str, higher: bool) -> tuple[float, int]:
        mean = self.estimate(policy, metric).mean or 0.0
        return (-mean if higher else mean), self.contestants.index(policy)


def standings(run: RunDir) -> Standings:
    """Read a run's metrics and comparisons."""
    metrics = run.read_json("metrics.json")
    if not metrics:
        raise RunError(f"{run.folder / 'metrics.json'}: no policy in it; run the scenario first")
    return standings_of(metrics, run.read_json("comparisons.json"), run.manifest.get("policies", []))


def standings_of(
    metrics: Mapping[str, Mapping[str, Any]],
    comparisons: Iterable[Mapping[str, Any]],
    policies: Iterable[Mapping[str, Any]],
    *,
    main: str = MAIN,
    digits: int | None = None,
    in_percent: bool = False,
) -> Standings:
    """Return the standings that follow from metrics, comparisons and the manifest's list of policies."""
    scale = 100.0 if in_percent else 1.0
    estimates = {
        policy: {metric: _estimate(value, scale) for metric, value in row.items()} for policy, row in metrics.items()
    }
    pairs: dict[tuple[str, str, str], Pair] = {}
    for row in comparisons:
        pair = _pair(row, scale)
        pairs[pair.metric, pair.policy, pair.against] = pair
        pairs[pair.metric, pair.against, pair.policy] = pair.turned()
    names = {entry["label"]: str(entry.get("name", "")) for entry in policies}
    order = [*(label for label in names if label in estimates), *(p for p in estimates if p not in names)]
    bounds = [policy for policy in order if is_bound(policy, names.get(policy, ""))]
    contestants = [policy for policy in order if policy not in bounds]
    found = _sorted(contestants, estimates, main), _sorted(bounds, estimates, main)
    colours = {policy: place for side in (contestants, bounds) for place, policy in enumerate(side)}
    return Standings(estimates, pairs, *found, colours, main, digits, in_percent)


def is_bound(label: str, name: str = "") -> bool:
    """Whether a policy bounds the others instead of contesting with them."""
    return label == CHANCE or knows_truth(label, name)


def _sorted(policies: Iterable[str], estimates: Mapping[str, Mapping[str, Estimate]], main: str) -> list[str]:
    def height(policy: str) -> float:
        mean = estimates[policy].get(main, Estimate(None)).mean
        return -math.inf if mean is None else mean

    return sorted(policies, key=height, reverse=True)


def _estimate(value: Mapping[str, Any], scale: float) -> Estimate:
    mean, low, high = (_known(value.get(key), scale) for key in ("mean", "low", "high"))
    return Estimate(mean, low, high, int(value.get("n") or 0))


def _pair(row: Mapping[str, Any], scale: float) -> Pair:
    difference, low, high = (_known(row.get(key), scale) for key in ("difference", "low", "high"))
    p, p_holm = (_known(row.get(key)) for key in ("p", "p_holm"))
    names = (str(row["metric"]), str(row["policy"]), str(row["against"]))
    return Pair(*names, difference, low, high, p, p_holm, int(row.get("n") or 0))


def _known(value: object, scale: float = 1.0) -> float | None:
    return scale * float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _place(known: list[str], name: str) -> int:
    kind = name.partition("@")[0]
    return known.index(kind) if kind in known else len(known)


def _cutoff(name: str) -> int:
    tail = name.partition("@")[2]
    return int(tail) if tail.isdigit() else 0
