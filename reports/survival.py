"""How many users are still there, page by page."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import FloatArray

from .numbers import percent
from .standings import Standings
from .svg import WIDTH, Figure, Scale, axes, curve, dot, drawing, end_labels, inks, ticks

HEIGHT = 300.0
MANY_PAGES = 20  # past these, dots would touch


def survival(pages: pa.Table) -> dict[str, FloatArray]:
    """Return, for each policy, the share of sessions not yet left after 0, 1, 2, ... pages."""
    last = int(np.max(pages["page"].to_numpy(), initial=0)) + 1
    table = pages.unify_dictionaries().group_by(["policy", "page"]).aggregate([("exit", "count"), ("exit", "sum")])
    shares: dict[str, FloatArray] = {}
    for policy in sorted(set(table["policy"].to_pylist())):
        rows = table.filter(pc.equal(table["policy"], policy))
        number = rows["page"].to_numpy()
        staying = np.zeros(last + 1)
        staying[number + 1] = rows["exit_count"].to_numpy() - rows["exit_sum"].to_numpy().astype(float)
        staying[0] = rows["exit_count"].to_numpy()[number == 0].sum()
        shares[policy] = staying / max(staying[0], 1)
    return shares


def survival_plot(pages: pa.Table, stands: Standings) -> Figure:
    """Draw the share of users still there after each page, one line a policy."""
    shares = survival(pages)
    last = max(len(row) for row in shares.values()) - 1
    colours = inks(stands)
    height = max(HEIGHT, 60 + 14 * len(shares))
    x, y = Scale(0, last, 44, WIDTH - 112), Scale(0, 1, height - 42, 30)
    parts: list[str] = [
        axes(
            x,
            y,
            {mark: f"{mark:.0f}" for mark in ticks(0, last, 11) if mark == int(mark)},
            {mark: percent(mark) for mark in (0, 0.25, 0.5, 0.75, 1)},
            "pages seen",
            "users still there, % of sessions",
        )
    ]
    ends: dict[str, tuple[float, float]] = {}
    for policy in reversed([policy for policy in stands.policies if policy in shares]):
        points = [(x(page), y(share)) for page, share in enumerate(shares[policy])]
        parts.append(curve(points, colours[policy]))
        if last <= MANY_PAGES:
            parts.extend(
                dot(px, py, colours[policy], f"{policy}, after page {page}: {percent(shares[policy][page])}")
                for page, (px, py) in enumerate(points)
                if page
            )
        ends[policy] = points[-1]
    parts.append(end_labels(ends, colours, x.end + 12, y.end + 4, y.start - 2))
    caption = f"The higher the line, the longer users stay; {_halfway(shares, stands, last)}."
    words = "; ".join(f"{policy}: {', '.join(percent(s) for s in row)}" for policy, row in shares.items())
    title = "Who is still there"
    return Figure(
        title,
        caption,
        drawing(
            "survival",
            title,
            f"Share of sessions not left after 0, 1, 2 pages and so on. {words}.",
            WIDTH,
            height,
            *parts,
        ),
    )


def _halfway(shares: Mapping[str, FloatArray], stands: Standings, last: int) -> str:
    page = max(1, round(last / 2))
    known = [policy for policy in stands.contestants if policy in shares] or list(shares)
    facts = [f"{percent(shares[policy][page])} are left under {policy}" for policy in (known[0], known[-1])]
    pages = "page" if page == 1 else "pages"
    return f"after {page} {pages}, {' and '.join(dict.fromkeys(facts))}"
