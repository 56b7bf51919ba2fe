"""Estimates and their intervals below each other, on one scale."""

from collections.abc import Sequence
from dataclasses import dataclass

from .numbers import MINUS
from .standings import Standings
from .svg import WIDTH, Figure, Scale, curve, dot, drawing, inks, label, line, row_labels, text, ticks

ROW = 26.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One estimate: a dot, and its interval as a line where it has one."""

    name: str
    ink: str
    mean: float
    low: float
    high: float
    note: str


def forest_plot(slug: str, title: str, caption: str, unit: str, bars: Sequence[Bar], zero: bool = False) -> Figure:
    """Draw a row for each estimate; with `zero`, a line where there is no difference."""
    reach = [value for bar in bars for value in (bar.mean, bar.low, bar.high)] + ([0.0] if zero else [])
    low, high = min(reach), max(reach)
    pad = 0.04 * ((high - low) or 1.0)
    begin, names = row_labels([bar.name for bar in bars])
    x = Scale(low - pad, high + pad, begin, WIDTH - 10)
    bottom = 12 + ROW * len(bars)
    marks = [mark for mark in ticks(x.low, x.high, 6) if x.low <= mark <= x.high]
    parts = [line(x(mark), 4, x(mark), bottom, "grid") for mark in marks]
    if zero:
        parts.append(line(x(0.0), 4, x(0.0), bottom, "zero"))
    for place, bar in enumerate(bars):
        y = 12 + ROW * (place + 0.5)
        parts.append(label(x.start - 8, y + 4, bar.name, names[bar.name], "end"))
        if bar.high > bar.low:
            parts.append(curve([(x(bar.low), y), (x(bar.high), y)], bar.ink))
        parts.append(dot(x(bar.mean), y, bar.ink, bar.note))
    parts.append(line(x.start, bottom, x.end, bottom, "axis"))
    parts += [text(x(mark), bottom + 16, f"{mark:.6g}".replace("-", MINUS), "tick", "middle") for mark in marks]
    parts.append(text(x.end, bottom + 32, unit, "title", "end"))
    told = "; ".join(f"{bar.name}: {bar.note}" for bar in bars)
    return Figure(title, caption, drawing(slug, title, f"{told}.", WIDTH, bottom + 40, *parts))


def inks_of(stands: Standings) -> dict[str, str]:
    """Return each policy's colour class, no line of it thicker than another."""
    return {policy: ink.removesuffix(" lead") for policy, ink in inks(stands).items()}
