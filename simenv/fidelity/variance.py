"""Shares of the variance of a session metric: the list, the user, both together, and chance."""

from collections.abc import Callable

import numpy as np

from simenv.arrays import FloatArray
from simenv.intervals import Interval

from .bench import IN_WORDS, METRICS
from .results import Cell, Figure, Table
from .spread import spread

COUNTED = ("S_sat", "N_exit", "N_like")
SLIGHT = 0.02  # of the variance: what decides less decides nothing
DRAWS = 200
OTHERS = ("persona", "interplay", "noise")
Parts = tuple[float, float, float, float]


def parts_of(cells: FloatArray) -> Parts:
    """Return the variance due to lists, persona, interplay and noise: two-way random effects of [U, lists, times].

    Where everything was played once, interplay is not told from noise, and counts as that.
    """
    users, lists, times = cells.shape
    middle = cells.mean()
    by_user, by_list, by_cell = cells.mean(axis=(1, 2)), cells.mean(axis=(0, 2)), cells.mean(axis=2)
    rest = by_cell - by_user[:, None] - by_list[None, :] + middle
    interplay = times * (rest**2).sum() / ((users - 1) * (lists - 1))
    within = ((cells - by_cell[:, :, None]) ** 2).sum()
    noise = within / (users * lists * (times - 1)) if times > 1 else interplay
    persona = lists * times * ((by_user - middle) ** 2).sum() / (users - 1)
    between = users * times * ((by_list - middle) ** 2).sum() / (lists - 1)
    return (
        max(float(between - interplay) / (users * times), 0.0),
        max(float(persona - interplay) / (lists * times), 0.0),
        max(float(interplay - noise) / times, 0.0),
        float(noise),
    )


def of_metric(values: FloatArray, metric: str) -> FloatArray:
    """Return a metric's cells [U, lists, times] out of those of all: [lists, times, U, metrics]."""
    return values[:, :, :, METRICS.index(metric)].transpose(2, 0, 1)


def shares_table(between: str, values: FloatArray, source: str) -> Table:
    """Return every counted metric's shares: of what lists differ by, then of persona, interplay and noise."""
    rows: list[tuple[Cell, ...]] = []
    for metric in COUNTED:
        parts = np.array(parts_of(of_metric(values, metric)))
        rows.append((IN_WORDS[metric], *(parts / max(parts.sum(), 1e-12)).tolist()))
    return Table(f"Shares of the variance, {between}", ("of", source, *OTHERS), tuple(rows))


def shares(values: FloatArray, source: str) -> list[Figure]:
    """Return the same as figures with intervals over users."""
    return [
        Figure(f"{IN_WORDS[metric]}: share of {name} in all, by {source}", share_of(of_metric(values, metric), place))
        for metric in COUNTED
        for place, name in enumerate((source, *OTHERS))
    ]


def persona_share(cells: FloatArray) -> Interval:
    """Return the persona's share of what it and the list decide; small where neither decides much."""

    def found(parts: FloatArray) -> FloatArray:
        total = np.maximum(parts.sum(axis=1), 1e-12)
        return parts[:, 1] / (parts[:, 0] + parts[:, 1] + SLIGHT * total)

    return _over_users(cells, found)


def share_of(cells: FloatArray, source: int) -> Interval:
    """Return a source's share in all, by its place among lists, persona, interplay and noise."""
    return _over_users(cells, lambda parts: parts[:, source] / np.maximum(parts.sum(axis=1), 1e-12))


def _over_users(cells: FloatArray, figure: Callable[[FloatArray], FloatArray]) -> Interval:
    def found(weights: FloatArray) -> FloatArray:
        drawn = [np.repeat(np.arange(len(cells)), weight.astype(int)) for weight in weights]
        return np.asarray(figure(np.array([parts_of(cells[rows]) for rows in drawn])))

    return spread(found, len(cells), draws=DRAWS)
