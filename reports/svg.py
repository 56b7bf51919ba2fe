"""The few shapes our plots are drawn with, as SVG that stands inside a page and takes its colours.

Colours are classes (`c0` to `c6`, `bound`), so light and dark, screen and paper are the stylesheet's
business. Whatever is text is escaped here, and stands inside of the drawing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from .labels import BOLD, NAME, TICK, fits, set_beside, short_names, text_width
from .standings import Standings

COLOURS = 7
WIDTH = 420
MARGIN = 1.0  # left free at both sides
LEAST_GUTTER, MOST_GUTTER = 104.0, 156.0  # for the names beside rows
LABEL_GAP = 13.5  # between names of different lines
LINE_GAP = 11.5  # between the lines of one name, so that two names of two lines find room in two rows


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with its heading, what to read from it, and a legend where it needs one."""

    title: str
    caption: str
    drawing: Markup
    legend: Sequence[tuple[str, str]] = field(default=())  # colour class, words


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to places along an axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where the value stands; one beyond the axis stands at its end."""
        inside = min(max(value, self.low), self.high)
        return self.start + (inside - self.low) / ((self.high - self.low) or 1) * (self.end - self.start)


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """Return an element; `_class` gives its class, and other underscores become hyphens."""
    words = "".join(
        Markup(' {}="{}"').format(key.lstrip("_").replace("_", "-"), place(value)) for key, value in attributes.items()
    )
    inner = Markup("").join(escape(child) for child in children)
    return Markup("<{}{}>{}</{}>").format(name, Markup(words), inner, name)


def place(value: str | float) -> str:
    """Return a coordinate in tenths, which is as fine as a screen shows."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def drawing(slug: str, title: str, description: str, width: float, height: float, *parts: str) -> Markup:
    """Return a whole drawing that a screen reader can announce."""
    return tag(
        "svg",
        tag("title", title, id=f"{slug}-title"),
        tag("desc", description, id=f"{slug}-desc"),
        *parts,
        viewBox=f"0 0 {place(width)} {place(height)}",
        role="img",
        aria_labelledby=f"{slug}-title {slug}-desc",
    )


def text(x: float, y: float, words: str, _class: str = "tick", anchor: str = "start") -> Markup:
    """Return words standing at a point, or as near to it as they stand whole inside of a drawing."""
    size = NAME if _class == "name" else TICK * (BOLD if _class in ("on", "dark") else 1)
    known = short_names([words], fits(WIDTH - 2 * MARGIN, size))
    before = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * text_width(known[words], size)
    after = text_width(known[words], size) - before
    x = max(MARGIN + before, min(x, WIDTH - MARGIN - after))
    notes = [] if known[words] == words else [tag("title", words)]
    return tag("text", *notes, known[words], x=x, y=y, _class=_class, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, _class: str) -> Markup:
    """Return a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, _class=_class)


def bar(x: float, y: float, width: float, height: float, _class: str, note: str = "") -> Markup:
    """Return a filled bar with a note to hover over."""
    notes = [tag("title", note)] if note else []
    return tag("rect", *notes, x=x, y=y, width=max(width, 0), height=height, _class=_class)


def curve(points: Iterable[tuple[float, float]], _class: str) -> Markup:
    """Return a line through points."""
    return tag("polyline", points=_joined(points), _class=f"curve {_class}")


def band(lower: Sequence[tuple[float, float]], upper: Sequence[tuple[float, float]], _class: str) -> Markup:
    """Return the area between two lines."""
    return tag("polygon", points=_joined([*lower, *reversed(upper)]), _class=f"band {_class}")


def dot(x: float, y: float, _class: str, note: str) -> Markup:
    """Return a dot with a note to hover over."""
    return tag("circle", tag("title", note), cx=x, cy=y, r=2.6, _class=f"dot {_class}")


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers from low to high, at most so many."""
    span = (high - low) or 1.0
    rough = span / max(most - 1, 1)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * nice for nice in (1, 2, 5, 10) if size * nice >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places at least `gap` apart, as near to the wanted ones as can be, between low and high.

    Runs of places that would touch are pooled around their mean (isotonic regression).
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    pools: list[list[float]] = []
    for step, i in enumerate(order):
        pools.append([wanted[i] - step * gap])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            last = pools.pop()
            pools[-1].extend(last)
    room = max(low, high - gap * max(len(wanted) - 1, 0))
    levels = [min(max(_mean(pool), low), room) for pool in pools for _ in pool]
    found = [0.0] * len(wanted)
    for step, i in enumerate(order):
        found[i] = levels[step] + step * gap
    return found


def end_labels(
    ends: Mapping[str, tuple[float, float]], inks: Mapping[str, str], x: float, low: float, high: float
) -> Markup:
    """Return each line's name beside its end, none over another, with a thread from one to the other."""
    places = apart([y for _, y in ends.values()], LABEL_GAP, low, high)
    short = short_names(list(ends), fits(WIDTH - MARGIN - x - 8))
    parts: list[str] = []
    for (policy, (end_x, end_y)), y in zip(ends.items(), places, strict=True):
        parts.append(
            tag(
                "polyline",
                points=_joined([(end_x + 4, end_y), (x, y), (x + 5, y)]),
                _class=f"thread {inks[policy]}",
            )
        )
        parts.append(label(x + 8, y + 4, policy, [short[policy]]))
    return Markup("").join(parts)


def label(x: float, y: float, name: str, lines: Sequence[str], anchor: str = "start") -> Markup:
    """Return a name in its lines; one that is cut shows in full on hovering."""
    notes = [] if "".join(lines) == name else [tag("title", name)]
    if len(lines) == 1:
        return tag("text", *notes, lines[0], x=x, y=y, _class="name", text_anchor=anchor)
    top = y - LINE_GAP / 2 * (len(lines) - 1)
    parts = [tag("tspan", line, x=x, y=top + LINE_GAP * place) for place, line in enumerate(lines)]
    return tag("text", *notes, *parts, _class="name", text_anchor=anchor)


def row_labels(names: Sequence[str]) -> tuple[float, dict[str, list[str]]]:
    """Return where rows begin so that their names stand beside them, and the lines of each name."""
    widest = max((text_width(name, NAME) for name in names), default=0.0)
    begin = min(max(LEAST_GUTTER, widest + 8 + MARGIN), MOST_GUTTER)
    return begin, set_beside(names, begin - 8 - MARGIN)


def inks(stands: Standings) -> dict[str, str]:
    """Return each policy's colour class, the same in all plots and tables of a run; bounds are grey.

    Colours are given in the run's order of policies; past seven they come again, dashed.
    """
    found = {
        policy: f"c{place % COLOURS}" + (f" d{min(place // COLOURS, 2)}" if place >= COLOURS else "")
        for policy, place in stands.colours.items()
        if policy in stands.contestants
    }
    if stands.leader:
        found[stands.leader] += " lead"
    return found | {policy: f"bound b{stands.colours[policy]}" for policy in stands.bounds}


def axes(
    x: Scale, y: Scale, x_marks: Mapping[float, str], y_marks: Mapping[float, str], x_title: str, y_title: str
) -> Markup:
    """Return a grid with its numbers and the words for both axes."""
    parts: list[str] = []
    for value, words in y_marks.items():
        parts.append(line(x.start, y(value), x.end, y(value), "grid"))
        parts.append(text(x.start - 6, y(value) + 4, words, "tick", "end"))
    for value, words in x_marks.items():
        parts.append(line(x(value), y.start, x(value), y.start + 4, "axis"))
        parts.append(text(x(value), y.start + 17, words, "tick", "middle"))
    parts.append(line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(text((x.start + x.end) / 2, y.start + 34, x_title, "title", "middle"))
    parts.append(text(2, y.end - 12, y_title, "title"))
    return Markup("").join(parts)


def _joined(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{place(x)},{place(y)}" for x, y in points)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
