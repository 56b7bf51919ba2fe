"""How satisfied the users still there are, page by page."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import FloatArray, IntArray

from .numbers import number
from .standings import Standings
from .survival import HEIGHT, MANY_PAGES
from .svg import WIDTH, Figure, Scale, axes, band, curve, dot, drawing, end_labels, inks, ticks

FEW = 10  # a mean over fewer users is left out where there were more at the start


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One policy's mean satisfaction by page."""

    pages: IntArray  # [P], counted from 0
    mean: FloatArray  # [P]
    error: FloatArray  # [P], half the width of the 95 % interval; NaN for a single user
    users: IntArray  # [P]


def courses(pages: pa.Table) -> dict[str, Course]:
    """Return each policy's mean satisfaction over the users still there; seeds are averaged first."""
    known = pages.unify_dictionaries().filter(pc.is_finite(pages["satisfaction"]))
    users = known.group_by(["policy", "page", "user_id"]).aggregate([("satisfaction", "mean")])
    spread = pc.VarianceOptions(ddof=1)
    table = users.group_by(["policy", "page"]).aggregate(
        [("satisfaction_mean", "mean"), ("satisfaction_mean", "variance", spread), ("user_id", "count")]
    )
    return {policy: _course(table.filter(pc.equal(table["policy"], policy))) for policy in _policies(table)}


def satisfaction_plot(pages: pa.Table, stands: Standings) -> Figure | None:
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
        error = np.nan_to_num(course.error)
        lower = [(at, y(float(v))) for at, v in zip(across, course.mean - error, strict=True)]
        upper = [(at, y(float(v))) for at, v in zip(across, course.mean + error, strict=True)]
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


def _course(rows: pa.Table) -> Course:
    rows = rows.sort_by("page")
    users = rows["user_id_count"].to_numpy()
    mean = rows["satisfaction_mean_mean"].to_numpy()
    variance = rows["satisfaction_mean_variance"].to_numpy(zero_copy_only=False).astype(float)
    error = 1.96 * np.sqrt(variance / users)
    enough = users >= min(FEW, int(users.max(initial=0)))
    return Course(rows["page"].to_numpy()[enough], mean[enough], error[enough], users[enough])


def _range(found: list[Course]) -> tuple[float, float]:
    reach = np.concatenate([np.nan_to_num(c.error) for c in found])
    means = np.concatenate([c.mean for c in found])
    low, high = float((means - reach).min()), float((means + reach).max())
    margin = max((high - low) * 0.06, 0.25)
    return low - margin, high + margin


def _policies(table: pa.Table) -> list[str]:
    return sorted(set(table["policy"].to_pylist()))
