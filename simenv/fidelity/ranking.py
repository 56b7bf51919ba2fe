"""Do the users rank policies as held-out rows do?"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from simenv.arrays import FloatArray, IntArray

from .bench import METRICS, Bench
from .results import Figure, Result, Table, held, result, unmeasured
from .spread import OfWeights, mean, spread

SURE = 1.96  # standard errors, beyond which a difference is told apart
MOST_BLIND = 12  # pairs that are named


@dataclass(frozen=True, slots=True, eq=False)
class Standings:
    """How contestants do with the users who have held-out items: [policies, U] each."""

    names: list[str]
    truth: FloatArray  # NDCG
    likes: FloatArray
    satisfaction: FloatArray

    @property
    def pairs(self) -> IntArray:
        """Every two of them."""
        return np.array(list(combinations(range(len(self.names)), 2)))

    @property
    def order(self) -> IntArray:
        """The known order of each pair."""
        return _order(self.names, self.truth, self.pairs)


def standings_of(bench: Bench) -> Standings:
    """Return what everybody's sessions with every contestant came to."""
    played = np.stack([bench.per_user(one) for one in bench.contest.values()])  # [policies, U, metrics]
    truth = np.stack([bench.ndcg(lists) for lists in bench.contestants.values()])
    tested = np.isfinite(truth[0])
    likes, pleased = (played[:, tested, METRICS.index(metric)] for metric in ("N_like", "S_sat"))
    values = (np.ascontiguousarray(one) for one in (truth[:, tested], likes, pleased))
    return Standings(list(bench.contest), *values)


def ranking(bench: Bench) -> Result:
    """Rank given policies, and each of them with known shares of random items, by likes and by NDCG."""
    stand = standings_of(bench)
    names, likes, pleased, truth = stand.names, stand.likes, stand.satisfaction, stand.truth
    count = truth.shape[1]
    if count < 2:
        return unmeasured("ranking", "too few users have held-out items")
    pairs, order = stand.pairs, stand.order
    seen = order != 0
    if not seen.any():
        return unmeasured("ranking", "held-out rows tell no two policies apart")
    agreement = spread(agreement_of(likes, pairs[seen], order[seen]), count)
    blind = np.abs(_gaps(likes, pairs[seen])) < SURE
    figures = [
        held(
            bench.limits, "ranking.tau", "Kendall's tau of likes with NDCG", spread(tau_of(likes, truth, pairs), count)
        ),
        held(bench.limits, "ranking.agreement", "agreement on pairs whose order is known", agreement),
        Figure("Kendall's tau of satisfaction with NDCG", spread(tau_of(pleased, truth, pairs), count)),
        Figure("agreement of satisfaction", spread(agreement_of(pleased, pairs[seen], order[seen]), count)),
        Figure("share of known pairs at which they are blind", spread(mean(blind.astype(float)), len(blind))),
    ]
    tables = [_standings(stand), _blind_at(names, truth, likes, pairs[seen][blind])]
    rated = f"ranks {len(names)} policies as held-out rows do: {seen.sum() - blind.sum()} of {seen.sum()} known pairs"
    return result("ranking", figures, f"{rated} told apart", [table for table in tables if table.rows])


def _order(names: list[str], truth: FloatArray, pairs: IntArray) -> IntArray:
    """Return 1 where the first of a pair is known to be better, -1 where the second is, 0 where nobody knows.

    Known is what NDCG tells for certain, and what was made worse by a known amount, unless chance does as well.
    """
    gaps = _gaps(truth, pairs)
    order = np.where(np.abs(gaps) > SURE, np.sign(gaps), 0).astype(int)
    chance = len(names) - 1
    better = {name for place, name in enumerate(names[:-1]) if _gaps(truth, np.array([[place, chance]]))[0] > SURE}
    for place, (one, other) in enumerate(pairs.tolist()):
        family = names[one].partition(" ")[0]
        if family in better and (names[other].partition(" ")[0] == family or other == chance):
            order[place] = 1  # the less spoilt stands first
    return order


def _gaps(values: FloatArray, pairs: IntArray) -> FloatArray:
    """Return each pair's mean difference in standard errors: values are [policies, U]."""
    gap = values[pairs[:, 0]] - values[pairs[:, 1]]
    error = gap.std(axis=1, ddof=1) / np.sqrt(gap.shape[1])
    return gap.mean(axis=1) / np.maximum(error, 1e-12)


def tau_of(one: FloatArray, other: FloatArray, pairs: IntArray) -> OfWeights:
    """Return Kendall's tau of two values [policies, U] over these pairs of policies."""

    def found(weights: FloatArray) -> FloatArray:
        signs = [np.sign(_differences(values, weights, pairs)) for values in (one, other)]
        return (signs[0] * signs[1]).mean(axis=1)

    return found


def agreement_of(values: FloatArray, pairs: IntArray, order: IntArray) -> OfWeights:
    """Return the mean credit: 1 for a difference told in the known order, 0 for the reverse, in between half."""
    gap = values[pairs[:, 0]] - values[pairs[:, 1]]
    error = np.maximum(gap.std(axis=1, ddof=1) / np.sqrt(gap.shape[1]), 1e-12)

    def found(weights: FloatArray) -> FloatArray:
        told = _differences(values, weights, pairs) / error * order
        return np.clip(0.5 + told / (2 * SURE), 0, 1).mean(axis=1)

    return found


def _differences(values: FloatArray, weights: FloatArray, pairs: IntArray) -> FloatArray:
    middle = weights @ values.T / weights.sum(axis=1, keepdims=True)
    return middle[:, pairs[:, 0]] - middle[:, pairs[:, 1]]


def _standings(stand: Standings) -> Table:
    means = np.stack([stand.truth, stand.likes, stand.satisfaction], axis=1).mean(axis=2)
    rows = [(stand.names[place], *means[place].tolist()) for place in np.argsort(-means[:, 0], kind="stable").tolist()]
    return Table("Policies of known quality", ("policy", "NDCG", "likes", "satisfaction"), tuple(rows))


def _blind_at(names: list[str], truth: FloatArray, likes: FloatArray, pairs: IntArray) -> Table:
    gaps = [(truth[one] - truth[other]).mean() for one, other in pairs.tolist()]
    rows = [
        (f"{names[one]} and {names[other]}", float(gaps[place]), float((likes[one] - likes[other]).mean()))
        for place in np.argsort(-np.abs(gaps), kind="stable").tolist()
        for one, other in [pairs[place].tolist()]
    ]
    title = f"Blind at these differences ({len(rows)})" + (", the largest" if len(rows) > MOST_BLIND else "")
    return Table(title, ("policies", "difference in NDCG", "in likes"), tuple(rows[:MOST_BLIND]))
