"""What the means hide: how many users are better off with the leader, and how many worse."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from simenv.arrays import FloatArray

from .labels import text_width
from .numbers import MINUS, percent
from .standings import MAIN, Standings
from .svg import MARGIN, WIDTH, Figure, Scale, bar, drawing, inks, label, line, row_labels, text, ticks

ROW = 54.0
TALL = 26.0
EXACT = 1e-9
MANY = 40  # bins on one side of zero, at most


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The leader minus another policy, user by user."""

    policy: str
    values: FloatArray  # [U]

    @property
    def better(self) -> float:
        """Share of users better off with the leader."""
        return float(np.mean(self.values > EXACT))

    @property
    def worse(self) -> float:
        """Share of users better off with the other policy."""
        return float(np.mean(self.values < -EXACT))


def spreads(sessions: pa.Table, leader: str, others: list[str]) -> list[Spread]:
    """Return the leader's per-user differences on the main metric from each other policy, on shared users."""
    mine = _values(sessions, leader)
    found = []
    for other in others:
        theirs = _values(sessions, other)
        pairs = [value - theirs[user] for user, value in mine.items() if user in theirs]
        values = np.array([value for value in pairs if np.isfinite(value)], dtype=float)
        if len(values):
            found.append(Spread(other, values))
    return found


def differences_plot(sessions: pa.Table, stands: Standings) -> Figure | None:
    """Draw the spread of per-user differences from the leader; None where there is nobody to differ from."""
    leader = stands.leader
    if leader is None or MAIN not in sessions.column_names:
        return None
    # Bounds lie far off and would flatten the others; they are drawn only where there is nobody else.
    rivals = [policy for policy in stands.contestants if policy != leader] or stands.bounds
    found = spreads(sessions, leader, rivals)
    if not found:
        return None
    edges = _edges(np.concatenate([spread.values for spread in found]))
    low, high = float(edges[0]), float(edges[-1])
    begin, names = row_labels([spread.policy for spread in found])
    x = Scale(low, high, begin, WIDTH - 8)
    bottom = 8 + ROW * len(found)
    colours = inks(stands)
    told = {spread.policy: _told(spread) for spread in found}
    left = min(x.start, WIDTH - MARGIN - max(text_width(words) for words in told.values()))
    parts: list[str] = []
    for row, spread in enumerate(found):
        top = 8 + ROW * row
        parts.append(label(x.start - 8, top + 22, spread.policy, names[spread.policy], "end"))
        parts.append(_histogram(spread, colours[spread.policy], colours[leader], edges, x, top))
        parts.append(text(left, top + TALL + 19, told[spread.policy], "tick"))
    parts.append(line(x.start, bottom + 2, x.end, bottom + 2, "axis"))
    parts.extend(text(x(mark), bottom + 18, _step(mark), "tick", "middle") for mark in ticks(low, high, 7))
    parts.append(text(x.end, bottom + 34, "difference in likes per session", "title", "end"))
    title = f"Who is better off with {leader}"
    first = found[0]
    caption = (
        "Every user meets both policies with the same luck, and the mark is the median:"
        f" against {first.policy}, {percent(first.better)} of users like more items under {leader}"
        f" and {percent(first.worse)} fewer."
    )
    shares = "; ".join(f"against {s.policy}, {percent(s.better)} better, {percent(s.worse)} worse" for s in found)
    legend = [
        (f"full {colours[leader]}", f"better off with {leader}"),
        ("even", "equal or nearly so"),
        *((f"full {colours[spread.policy]}", f"better off with {spread.policy}") for spread in found),
    ]
    shape = drawing("differences", title, f"Shares of users: {shares}.", WIDTH, bottom + 42, *parts)
    return Figure(title, caption, shape, legend)


def _histogram(spread: Spread, theirs: str, mine: str, edges: FloatArray, x: Scale, top: float) -> Markup:
    """Draw one policy's histogram with the median on it."""
    inside = np.clip(spread.values, edges[0] + EXACT, edges[-1] - EXACT)
    shares = np.histogram(inside, edges)[0] / len(inside)
    floor = top + TALL + 4
    parts: list[str] = []
    for begin, end, share in zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True):
        if share:
            tone = "even" if begin < 0 < end else f"full {mine if begin >= 0 else theirs}"
            height = max(share / shares.max() * TALL, 0.8)
            note = f"{_step((begin + end) / 2)}: {percent(share)} of users"
            parts.append(bar(x(begin) + 0.4, floor - height, x(end) - x(begin) - 0.8, height, tone, note))
    median = float(np.median(spread.values))
    parts.append(line(x.start, floor, x.end, floor, "grid"))
    parts.append(line(x(0), floor - TALL - 3, x(0), floor + 3, "zero"))
    parts.append(line(x(median), floor - TALL - 2, x(median), floor + 3, "median"))
    return Markup("").join(parts)


def _told(spread: Spread) -> str:
    """Return the shares of users, and the median, in words."""
    even = max(0.0, 1 - spread.better - spread.worse)
    shares = f"{percent(spread.better)} better · {percent(even)} equal · {percent(spread.worse)} worse"
    return f"{shares} · median {_step(float(np.median(spread.values)))}"


def _edges(values: FloatArray) -> FloatArray:
    """Return bin edges, one bin around zero, for 99 % of the values; the bins at the ends take the rest."""
    low, high = (float(value) for value in np.quantile(values, [0.005, 0.995]))
    width = _width(values, max(-low, high, EXACT))
    first, last = np.floor(min(low, -width) / width + 0.5), np.ceil(max(high, width) / width - 0.5)
    edges: FloatArray = (np.arange(first, last + 2) - 0.5) * width
    return edges


def _width(values: FloatArray, reach: float) -> float:
    """Return a bin's width; values that move in steps (halves, for two seeds) get an odd number of them."""
    for seeds in range(1, 11):
        steps = values * seeds
        if np.all(np.abs(steps - np.round(steps)) < EXACT * 100):
            together = 2 * math.ceil((reach * seeds / MANY - 1) / 2) + 1
            return max(together, 1) / seeds
    return reach / 12


def _step(value: float) -> str:
    """Return a difference in likes without idle zeros."""
    return f"{value:+.4g}".replace("-", MINUS) if abs(value) > EXACT else "0"


def _values(sessions: pa.Table, policy: str) -> dict[object, float]:
    rows = sessions.filter(pc.equal(sessions["policy"], policy))
    values = pc.fill_null(rows[MAIN].cast(pa.float64()), float("nan")).to_pylist()
    return dict(zip(rows["user_id"].to_pylist(), values, strict=True))
