"""What the means hide: how many users are better off with the leader, and how many worse."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from simenv.arrays import FloatArray

from .numbers import number, percent, signed
from .standings import MAIN, Standings
from .svg import WIDTH, Figure, Scale, bar, drawing, label, line, text, ticks

ROW = 54.0
TALL = 26.0
EXACT = 1e-9


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
    found = spreads(sessions, leader, [policy for policy in stands.policies if policy != leader])
    if not found:
        return None
    edges = _edges(np.concatenate([spread.values for spread in found]))
    x = Scale(float(edges[0]), float(edges[-1]), 104, WIDTH - 8)
    bottom = 8 + ROW * len(found)
    parts: list[str] = []
    for row, spread in enumerate(found):
        parts.append(_row(spread, leader, edges, x, 8 + ROW * row))
    parts.append(line(x(0), 4, x(0), bottom + 2, "zero"))
    parts.append(line(x.start, bottom + 2, x.end, bottom + 2, "axis"))
    for mark in ticks(float(edges[0]), float(edges[-1]), 7):
        parts.append(
            text(
                x(mark),
                bottom + 18,
                signed(mark, -1, 9) if mark == int(mark) else signed(mark),
                "tick",
                "middle",
            )
        )
    words = f"likes per session under {leader} minus those under the other"
    parts.append(
        text(
            (x.start + x.end) / 2,
            bottom + 34,
            words if len(words) < 62 else "difference in likes per session",
            "title",
            "middle",
        )
    )
    title = f"Who is better off with {leader}"
    first = found[0]
    caption = (
        f"Each user meets both policies with the same luck: against {first.policy}, {percent(first.better)} of"
        f" users like more under {leader} and {percent(first.worse)} like less."
    )
    facts = "; ".join(
        f"against {s.policy}, {percent(s.better)} better and {percent(s.worse)} worse off" for s in found
    )
    legend = [("better", f"better off with {leader}"), ("even", "equal"), ("worse", "worse off")]
    return Figure(
        title,
        caption,
        drawing("differences", title, f"Share of users by policy: {facts}.", WIDTH, bottom + 42, *parts),
        legend,
    )


def _row(spread: Spread, leader: str, edges: FloatArray, x: Scale, top: float) -> Markup:
    clipped = np.clip(spread.values, edges[0] + EXACT, edges[-1] - EXACT)
    heights = np.histogram(clipped, edges)[0] / len(clipped)
    tallest = heights.max() or 1.0
    floor = top + TALL + 4
    parts: list[str] = [label(x.start - 8, top + 18, spread.policy, 15, "end")]
    for begin, end, share in zip(edges[:-1].tolist(), edges[1:].tolist(), heights.tolist(), strict=True):
        if share:
            tone = "even" if begin < 0 < end else "better" if begin >= 0 else "worse"
            tall = max(share / tallest * TALL, 0.8)
            middle = (begin + end) / 2
            note = f"{signed(middle)}: {percent(share)} of users"
            parts.append(bar(x(begin) + 0.4, floor - tall, x(end) - x(begin) - 0.8, tall, tone, note))
    median = float(np.median(spread.values))
    parts.append(line(x.start, floor, x.end, floor, "grid"))
    parts.append(line(x(median), floor - TALL, x(median), floor + 3, "median"))
    even = max(0.0, 1 - spread.better - spread.worse)
    words = f"{percent(spread.better)} better · {percent(even)} equal · {percent(spread.worse)} worse · median {signed(median) if median else number(0, 0, 10)}"
    parts.append(text(x.start, floor + 14, words, "tick"))
    return Markup("").join(parts)


def _edges(values: FloatArray) -> FloatArray:
    """Return bin edges with one bin around zero, wide enough for 99 % of the values; the rest go to the ends."""
    reach = max(float(np.quantile(np.abs(values), 0.99)), EXACT)
    whole = bool(np.all(np.abs(values - np.round(values)) < EXACT))
    width = max(1.0, float(np.ceil(reach / 15))) if whole else reach / 12
    low = -np.ceil(max(-float(np.quantile(values, 0.005)), width) / width - 1e-6)
    high = np.ceil(max(float(np.quantile(values, 0.995)), width) / width - 1e-6)
    return (np.arange(low, high + 2) - 0.5) * width


def _values(sessions: pa.Table, policy: str) -> dict[object, float]:
    rows = sessions.filter(pc.equal(sessions["policy"], policy))
    values = pc.fill_null(rows[MAIN].cast(pa.float64()), float("nan")).to_pylist()
    return dict(zip(rows["user_id"].to_pylist(), values, strict=True))
