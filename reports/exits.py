"""Why users leave."""

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from .labels import BOLD, TICK, text_width
from .numbers import count, percent
from .standings import Standings
from .svg import WIDTH, Figure, Scale, bar, drawing, label, line, row_labels, text

ROW = 26.0
STAYED = "stayed to the last page"
OTHER = "other causes"
UNNAMED = "no cause given"
TONES = {  # the colour class of each cause, by its name, the same in every plot of every run
    "tired": "left-tired",
    "bored": "left-bored",
    "disappointed": "left-disappointed",
    "called away": "left-called",
    UNNAMED: "left-unnamed",
    OTHER: "left-other",
    STAYED: "stay",
}
SPARE = 4  # colour classes, `left-0` and on, for causes that are not named here


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
    causes = cause_tones(found)
    rows = [policy for policy in stands.policies if policy in found]
    begin, names = row_labels(rows)
    x = Scale(0, 1, begin, WIDTH - 8)
    bottom = 10 + ROW * len(rows)
    parts: list[str] = []
    for number, policy in enumerate(rows):
        top = 10 + ROW * number
        parts.append(label(x.start - 8, top + 15, policy, names[policy], "end"))
        begin = 0.0
        for cause, colour in causes.items():
            amount = _amount(found[policy], cause, causes)
            share = amount / max(found[policy].total(), 1)
            if share:
                note = f"{policy}, {cause}: {percent(share)} ({count(amount)} sessions)"
                parts.append(bar(x(begin), top, x(begin + share) - x(begin), ROW - 6, f"{colour} cut", note))
            if x(begin + share) - x(begin) > text_width(percent(share), TICK * BOLD) + 8:
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


def cause_tones(found: Mapping[str, Counter[str]]) -> dict[str, str]:
    """Return the causes of a run with their colour classes; unknown ones past the spare colours are one."""
    total = sum(found.values(), Counter[str]())
    unknown = sorted((cause for cause in total if cause not in TONES), key=lambda cause: (-total[cause], cause))
    spare = {cause: f"left-{place}" for place, cause in enumerate(sorted(unknown[:SPARE]))}
    known = {cause: tone for cause, tone in TONES.items() if total[cause] or (cause == OTHER and unknown[SPARE:])}
    last = {cause: known.pop(cause) for cause in (UNNAMED, OTHER, STAYED) if cause in known}
    return known | spare | last


def _amount(ended: Counter[str], cause: str, causes: Mapping[str, str]) -> int:
    if cause != OTHER:
        return ended[cause]
    return ended[OTHER] + sum(number for name, number in ended.items() if name not in causes)
