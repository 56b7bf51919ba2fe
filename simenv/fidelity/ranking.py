"""Do the users rank policies as held-out rows do?"""

from itertools import combinations

import numpy as np

from simenv.arrays import FloatArray, IntArray

from .bench import METRICS, Bench
from .results import Figure, Result, Table, held, result, unmeasured
from .spread import OfWeights, mean, spread

SURE = 1.96  # standard errors, beyond which a difference is told apart
MOST_BLIND = 12  # pairs that are named


def ranking(bench: Bench) -> Result:
    """Rank given policies, and each of them with known shares of random items, by likes and by NDCG."""
    names = list(bench.contest)
    played = np.stack([bench.per_user(one) for one in bench.contest.values()])  # [policies, U, metrics]
    likes, pleased = (played[:, :, METRICS.index(metric)] for metric in ("N_like", "S_sat"))
    truth = np.stack([bench.ndcg(lists) for lists in bench.contestants.values()])
    tested = np.isfinite(truth[0])
    if tested.sum() < 2:
        return unmeasured("ranking", "too few users have held-out items")
    likes, pleased, truth = (np.ascontiguousarray(one[:, tested]) for one in (likes, pleased, truth))
    pairs = np.array(list(combinations(range(len(names)), 2)))
    order = _order(names, truth, pairs)
    seen = order != 0
    if not seen.any():
        return unmeasured("ranking", "held-out rows tell no two policies apart")
    count = int(tested.sum())
    agreement = spread(_agreement(likes, pairs[seen], order[seen]), count)
    blind = np.abs(_gaps(likes, pairs[seen])) < SURE
    figures = [
        held(bench.limits, "ranking.tau", "Kendall's tau of likes with NDCG", spread(_tau(likes, truth, pairs), count)),
        held(bench.limits, "ranking.agreement", "agreement on pairs whose order is known", agreement),
        Figure("Kendall's tau of satisfaction with NDCG", spread(_tau(pleased, truth, pairs), count)),
        Figure("agreement of satisfaction", spread(_agreement(pleased, pairs[seen], order[seen]), count)),
        Figure("share of known pairs at which they are blind", spread(mean(blind.astype(float)), len(blind))),
    ]
    tables = [_standings(names, truth, played[:, tested]), _blind_at(names, truth, likes, pairs[seen][blind])]
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


def _tau(one: FloatArray, other: FloatArray, pairs: IntArray) -> OfWeights:
    def found(weights: FloatArray) -> FloatArray:
        signs = [np.sign(_differences(values, weights, pairs)) for values in (one, other)]
        return (signs[0] * signs[1]).mean(axis=1)

    return found


def _agreement(values: FloatArray, pairs: IntArray, order: IntArray) -> OfWeights:
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


def _standings(names: list[str], truth: FloatArray, played: FloatArray) -> Table:
    middle = played.mean(axis=1)
    shown = [METRICS.index("N_like"), METRICS.index("S_sat")]
    rows = [
        (names[place], float(truth[place].mean()), *middle[place, shown].tolist())
        for place in np.argsort(-truth.mean(axis=1), kind="stable").tolist()
    ]
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
