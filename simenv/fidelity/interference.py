"""What decides how a session goes: the list, who the user is, both together, or chance?"""

from collections.abc import Callable

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.intervals import Interval

from .bench import IN_WORDS, METRICS, Bench
from .dose import UNKNOWN
from .results import Figure, Result, Table, held, result, unmeasured
from .spread import spread

SHARES = (0.0, 0.5, 1.0)  # of junk in the lists
SOURCES = ("policy", "persona", "interplay", "noise")
COUNTED = ("S_sat", "N_exit", "N_like")
SLIGHT = 0.02  # of the variance: what decides less decides nothing


def interference(bench: Bench) -> Result:
    """Let every user meet good, middling and bad lists, with other luck each time, and share out the variance."""
    if bench.base is None:
        return unmeasured("interference", UNKNOWN)
    lists = bench.lists[bench.base]
    times = max(bench.repeats, 2)
    many = [bench.spoilt(lists, bench.junk, part, "interference") for part in SHARES]
    values = np.stack(
        [_sessions(bench, one, place * times, times) for place, one in enumerate(many)]
    )  # [lists, times, U, metrics]
    figures, rows = [], []
    for metric in COUNTED:
        cells = values[:, :, :, METRICS.index(metric)].transpose(2, 0, 1)  # [U, lists, times]
        parts = np.array(_parts(cells))
        rows.append((IN_WORDS[metric], *(parts / max(parts.sum(), 1e-12)).tolist()))
        limit = "interference.length" if metric == "N_exit" else "interference.persona"
        name = f"{IN_WORDS[metric]}: persona's share of what persona and policy decide"
        figures.append(held(bench.limits, limit, name, _persona(cells)))
        figures += [
            Figure(f"{IN_WORDS[metric]}: share of {source} in all", _share(cells, place))
            for place, source in enumerate(SOURCES)
        ]
    table = Table("Shares of the variance", ("of", *SOURCES), tuple(rows))
    return result("interference", figures, "the list decides at least as much as who the user is", [table])


def _sessions(bench: Bench, lists: IntArray, first: int, times: int) -> FloatArray:
    """Return the metrics of everybody's sessions [times, U, metrics], with luck that no other list has met."""
    seeds = np.repeat(bench.seed + first + np.arange(times), len(bench.users))
    played = bench.play(np.tile(lists, (times, 1)), np.tile(bench.users, times), seeds)
    return played.metrics.reshape(times, len(bench.users), len(METRICS))


def _parts(cells: FloatArray) -> tuple[float, float, float, float]:
    """Return the variance due to policy, persona, interplay and noise: two-way random effects of [U, lists, times]."""
    users, lists, times = cells.shape
    mean = cells.mean()
    by_user, by_list, by_cell = cells.mean(axis=(1, 2)), cells.mean(axis=(0, 2)), cells.mean(axis=2)
    noise = ((cells - by_cell[:, :, None]) ** 2).sum() / (users * lists * (times - 1))
    rest = by_cell - by_user[:, None] - by_list[None, :] + mean
    interplay = times * (rest**2).sum() / ((users - 1) * (lists - 1))
    persona = lists * times * ((by_user - mean) ** 2).sum() / (users - 1)
    policy = users * times * ((by_list - mean) ** 2).sum() / (lists - 1)
    return (
        max(float(policy - interplay) / (users * times), 0.0),
        max(float(persona - interplay) / (lists * times), 0.0),
        max(float(interplay - noise) / times, 0.0),
        float(noise),
    )


def _persona(cells: FloatArray) -> Interval:
    """Return the persona's share of what it and the policy decide; small where neither decides much."""

    def found(parts: FloatArray) -> FloatArray:
        total = np.maximum(parts.sum(axis=1), 1e-12)
        return parts[:, 1] / (parts[:, 0] + parts[:, 1] + SLIGHT * total)

    return _spread(cells, found)


def _share(cells: FloatArray, source: int) -> Interval:
    return _spread(cells, lambda parts: parts[:, source] / np.maximum(parts.sum(axis=1), 1e-12))


def _spread(cells: FloatArray, figure: Callable[[FloatArray], FloatArray]) -> Interval:
    def found(weights: FloatArray) -> FloatArray:
        drawn = [np.repeat(np.arange(len(cells)), weight.astype(int)) for weight in weights]
        return np.asarray(figure(np.array([_parts(cells[rows]) for rows in drawn])))

    return spread(found, len(cells), draws=200)
