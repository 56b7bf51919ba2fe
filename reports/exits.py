"""Why users leave."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .numbers import count, percent
from .standings import Standings
from .svg import COLOURS, WIDTH, Figure, Scale, bar, drawing, label, line, text

ROW = 26.0
STAYED = "stayed to the last page"
OTHER = "other causes"
UNNAMED = "no cause given"


def exit_causes(pages: pa.Table) -> dict[str, Counter[str]]:
    """Return, for each policy, how many sessions ended for which cause, or did not end before the limit."""
    pages = pages.unify_dictionaries()
    left = pages.filter(pages["exit"])
    causes = pc.fill_null(left["exit_cause"].cast(pa.string()), UNNAMED)
    table = pa.table({"policy": left["policy"], "cause": causes}).group_by(["policy", "cause"])
    found: dict[str, Counter[str]] = {}
    for row in table.aggregate([([], "count_all")]).to_pylist():
        found.setdefault(row["policy"], Counter())[row["cause"]] = row["count_all"]
    first = pages.filter(pc.equal(pages["page"], 0))
    for policy, sessions in Counter(first["policy"].to_pylist()).items():
        ended = found.setdefault(policy, Counter())
        if sessions > ended.total():
            ended[STAYED] = sessions - ended.total()
    return found


def exits_plot(pages: pa.Table, stands: Standings) -> Figure:
    """Draw why sessions ended, one bar a policy."""
    found = exit_causes(pages)
    causes = _kinds(found)
    rows = [policy for policy in stands.policies if policy in found]
    x = Scale(0, 1, 104, WIDTH - 8)
    bottom = 10 + ROW * len(rows)
    parts: list[str] = []
    for number, policy in enumerate(rows):
        top = 10 + ROW * number
        parts.append(label(x.start - 8, top + 15, policy, 14, "end"))
        begin = 0.0
        for cause, colour in causes.items():
            amount = _amount(found[policy], cause, causes)
            share = amount / max(found[policy].total(), 1)
            if share:
                note = f"{policy}, {cause}: {percent(share)} ({count(amount)} sessions)"
                parts.append(bar(x(begin), top, x(begin + share) - x(begin), ROW - 6, f"{colour} cut", note))
            if share >= 0.11:
                parts.append(text(x(begin) + 5, top + 14, percent(share), "dark" if colour != "stay" else "off"))
            begin += share
    parts.append(line(x.start, bottom + 2, x.end, bottom + 2, "axis"))
    for mark in (0, 0.25, 0.5, 0.75, 1):
        parts.append(text(x(mark), bottom + 18, percent(mark), "tick", "middle" if mark < 1 else "end"))
    parts.append(text((x.start + x.end) / 2, bottom + 34, "share of sessions", "title", "middle"))
    title = "Why they leave"
    caption = "Each bar is all of a policy's sessions: read which cause grows where users leave sooner."
    facts = "; ".join(
        f"{policy}: " + ", ".join(f"{cause} {count(_amount(found[policy], cause, causes))}" for cause in causes)
        for policy in rows
    )
    legend = [(colour, cause) for cause, colour in causes.items()]
    return Figure(
        title,
        caption,
        drawing("exits", title, f"Sessions by cause of their end. {facts}.", WIDTH, bottom + 42, *parts),
        legend,
    )


def _kinds(found: dict[str, Counter[str]]) -> dict[str, str]:
    """Return the causes with their colours, commonest first; past six, the rest are one."""
    total = sum(found.values(), Counter[str]())
    named = [cause for cause, _ in sorted(total.items(), key=lambda kv: (-kv[1], kv[0])) if cause != STAYED]
    kept = named if len(named) < COLOURS else [*named[: COLOURS - 1], OTHER]
    colours = {cause: f"f{place}" for place, cause in enumerate(kept)}
    return colours | ({STAYED: "stay"} if total[STAYED] else {})


def _amount(ended: Counter[str], cause: str, causes: dict[str, str]) -> int:
    if cause != OTHER or cause in ended:
        return ended[cause]
    return int(np.sum([number for name, number in ended.items() if name not in causes]))
