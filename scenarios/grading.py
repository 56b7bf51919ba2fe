"""How good a taught policy is: on held-out rows, and before simulated users from whom nothing was learnt.

Every stage meets the same users with the same seeds, so stages are compared in pairs; none of these seeds taught.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.intervals import LEVEL, Interval, differences, holm, means
from simenv.metrics import Measures
from simenv.pages import Grade
from simenv.policy import Policy
from simenv.ranking import rank
from simenv.rundir import RunDir
from simenv.splits import Split

K = 10
MOST_HELD_OUT = 10_000  # users by whom a policy is measured on held-out rows
HELD_OUT = "held_out"
METRICS = ("S_sat", "N_like", "P_like", "N_exit", "diversity", "popularity_lift")
HEADLINE = ("grade", "N_like")  # of each kind of users; of held-out rows it is the recall
Figures = Mapping[str, Mapping[str, FloatArray]]  # by who grades, by metric: [users]
Plain = dict[str, Any]


def held_out(policy: Policy, split: Split, users: IntArray) -> dict[str, FloatArray]:
    """Return the recall and NDCG at 10 of users with test rows, those of the play first, asked with all rows before."""
    history = split.past()
    tested = np.unique(split.test.users)
    others = np.setdiff1d(tested, users)[: max(0, MOST_HELD_OUT - len(users))]
    asked = np.sort(np.concatenate([np.intersect1d(tested, users), others]))
    qualities = rank(policy, history, split.test, asked, K).qualities()
    return {f"recall@{K}": qualities[:, 0], f"ndcg@{K}": qualities[:, 1]}


def by_user(run: RunDir) -> dict[str, dict[str, FloatArray]]:
    """Return for each policy of a run the metrics of each user, and the mean grade of what they looked at."""
    measures = Measures(run)
    names = list(measures.session_values)
    seen = measures.grade != Grade.UNSEEN
    session = measures.event_session[seen]
    figures = {}
    for number, policy in enumerate(measures.policies):
        its = measures.session_policy[session] == number
        user, grade = measures.session_user[session[its]], measures.grade[seen][its] - 1.0
        count = np.bincount(user, minlength=len(measures.users))
        total = np.bincount(user, grade, len(measures.users))
        mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        metrics = {name: measures.per_user[:, number, names.index(name)] for name in METRICS if name in names}
        figures[policy] = {"grade": mean} | metrics
    return figures


def stage_figures(figures: Figures, first: Figures) -> Plain:
    """Return every figure of a stage with its interval, and how far it is from the first stage's."""
    return {
        who: {
            metric: {**plain, "gained": _plain_change(change)}
            for (metric, plain), change in zip(
                _means(metrics).items(), _changes(metrics, first[who], list(metrics), LEVEL), strict=True
            )
        }
        for who, metrics in figures.items()
    }


def mean_figures(figures: Figures) -> Plain:
    """Return every figure of a policy with its interval."""
    return {who: _means(metrics) for who, metrics in figures.items()}


def correct(stages: Sequence[Plain], graders: Sequence[str]) -> None:
    """Add to each change since the first stage its p-value, corrected for all stages and metrics of one who grades."""
    for who in graders:
        gained = [one["gained"] for stage in stages[1:] for one in stage[who].values()]
        known = [math.nan if one["p"] is None else one["p"] for one in gained]
        for change, chance in zip(gained, holm(known), strict=True):
            change["p_corrected"] = None if math.isnan(chance) else chance


def changes(first: Figures, last: Figures, beside: Mapping[str, Figures]) -> list[Plain]:
    """Return the headline figures of the first and last stage, and their differences.

    The intervals hold for all of them together: each has 1 - 0.05 / n for its level. The same figures of the policies
    beside stand with them.
    """
    wanted = {
        who: [
            metric
            for metric in ((f"recall@{K}",) if who == HELD_OUT else HEADLINE)
            if np.isfinite(metrics[metric]).any()
        ]
        for who, metrics in last.items()
    }
    level = 1 - (1 - LEVEL) / max(sum(map(len, wanted.values())), 1)
    return [
        {
            "who": who,
            "metric": metric,
            "first": _mean(first[who][metric]),
            "last": _mean(last[who][metric]),
            "change": _plain_change(change),
            "beside": {label: _mean(figures[who][metric]) for label, figures in beside.items()},
        }
        for who, metrics in wanted.items()
        for metric, change in zip(metrics, _changes(last[who], first[who], metrics, level), strict=True)
    ]


def write_figures(path: Path, figures: Mapping[str, FloatArray]) -> None:
    """Keep figures of each user in a file, whole or not at all."""
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez(unfinished, allow_pickle=False, **figures)
    unfinished.replace(path)


def read_figures(path: Path) -> dict[str, FloatArray]:
    """Return the figures that were kept in a file."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _means(metrics: Mapping[str, FloatArray]) -> dict[str, Plain]:
    columns = np.stack(list(metrics.values()), axis=1)
    return {metric: _plain(value) for metric, value in zip(metrics, means(columns), strict=True)}


def _changes(
    now: Mapping[str, FloatArray], then: Mapping[str, FloatArray], metrics: Sequence[str], level: float
) -> list[Interval]:
    if not metrics:
        return []
    return differences(np.stack([now[metric] - then[metric] for metric in metrics], axis=1), level=level)


def _mean(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _plain(value: Interval) -> Plain:
    return {"mean": _finite(value.mean), "low": _finite(value.low), "high": _finite(value.high), "n": value.n}


def _plain_change(value: Interval) -> Plain:
    return {**_plain(value), "p": _finite(value.p)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
