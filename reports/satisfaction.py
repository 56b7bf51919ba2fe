"""How satisfied the users still there are, page by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simenv.arrays import FloatArray, IntArray

from .numbers import number
from .standings import Standings
from .survival import HEIGHT, MANY_PAGES
from .svg import WIDTH, Figure, Scale, axes, band, curve, dot, drawing, end_labels, inks, ticks

FEW = 10  # a mean over fewer users is left out where there were more at the start


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One policy's mean satisfaction by page, as the run's table of pages tells it."""

    pages: IntArray  # [P], counted from 0
    mean: FloatArray  # [P]
    low: FloatArray  # [P], the ends of the 95 % interval; the mean itself where there is none
    high: FloatArray  # [P]
    users: IntArray  # [P]


def courses(pages: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> dict[str, Course]:
    """Return each policy's mean satisfaction over the users still there, of what `pages.json` holds."""
    found = {policy: _course(metrics.get("S_sat", ())) for policy, metrics in pages.items()}
    return {policy: course for policy, course in found.items() if len(course.pages)}


def satisfaction_plot(
    pages: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], stands: Standings
) -> Figure | None:
    """Draw the mean satisfaction of the users still there; None where none was ever given."""
    found = courses(pages)
    shown = [policy for policy in stands.policies if policy in found and len(found[policy].pages)]
    if not shown:
        return None
    last = max(int(found[policy].pages.max()) for policy in shown) + 1
    low, high = _range([found[policy] for policy in shown])
    height = max(HEIGHT, 60 + 14 * len(shown))
    x, y = Scale(min(1, last - 1), last, 44, WIDTH - 112), Scale(low, high, height - 42, 30)
    colours = inks(stands)
    bands: list[str] = []
    lines: list[str] = []
    ends: dict[str, tuple[float, float]] = {}
    for policy in reversed(shown):
        course = found[policy]
        across = [x(float(page) + 1) for page in course.pages]
        points = [(at, y(float(mean))) for at, mean in zip(across, course.mean, strict=True)]
        lower = [(at, y(float(v))) for at, v in zip(across, course.low, strict=True)]
        upper = [(at, y(float(v))) for at, v in zip(across, course.high, strict=True)]
        bands.append(band(lower, upper, colours[policy]))
        lines.append(curve(points, colours[policy]))
        if last <= MANY_PAGES or len(points) == 1:
            lines.extend(
                dot(*point, colours[policy], f"{policy}, page {page + 1}: {mean:.2f} over {users} users")
                for point, page, mean, users in zip(points, course.pages, course.mean, course.users, strict=True)
            )
        ends[policy] = points[-1]
    frame = axes(
        x,
        y,
        {mark: f"{mark:.0f}" for mark in ticks(1, last, 11) if mark == int(mark)} or {1.0: "1"},
        {mark: f"{mark:g}" for mark in (round(tick, 6) for tick in ticks(low, high))},
        "page",
        "mean satisfaction, 1 to 10",
    )
    names = end_labels(ends, colours, x.end + 12, y.end + 4, y.start - 2)
    caption = (
        "Each mean is over the users still there, so a line may rise only because the unhappy have left:"
        " compare policies on page 1, where nobody has; bands are 95 % intervals."
    )
    first = "; ".join(f"{policy}: {number(float(found[policy].mean[0]))}" for policy in shown)
    title = "How satisfied they are"
    describes = f"Mean satisfaction by page over the users still there. On the first page: {first}."
    return Figure(
        title, caption, drawing("satisfaction", title, describes, WIDTH, height, frame, *bands, *lines, names)
    )


def _course(rows: Sequence[Mapping[str, Any]]) -> Course:
    known = [(page, row) for page, row in enumerate(rows) if row["mean"] is not None]
    users = np.array([row["n"] for _, row in known], dtype=np.int64)
    enough = users >= min(FEW, int(users.max(initial=0)))

    def column(name: str) -> FloatArray:
        values = [row["mean"] if row[name] is None else row[name] for _, row in known]
        return np.array(values, dtype=np.float64)[enough]

    pages = np.array([page for page, _ in known], dtype=np.int64)[enough]
    return Course(pages, column("mean"), column("low"), column("high"), users[enough])


def _range(found: list[Course]) -> tuple[float, float]:
    low = float(min(course.low.min() for course in found))
    high = float(max(course.high.max() for course in found))
    margin = max((high - low) * 0.06, 0.25)
    return low - margin, high + margin
