"""Which items are shown: the popular few or the rest of the catalogue."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simenv.arrays import FloatArray, IntArray

from .labels import BOLD, TICK, text_width
from .numbers import percent
from .standings import Standings
from .svg import WIDTH, Figure, Scale, bar, drawing, label, line, row_labels, text

PARTS = 10
ROW = 26.0
TRAINING = "training rows"


def exposure(events: pa.Table, items: pa.Table) -> dict[str, FloatArray]:
    """Return, for each policy, the share of shown places that go to each tenth of the catalogue.

    Items are sorted by their number of training rows, most first, and cut into ten parts of (nearly)
    equal size. The training rows themselves are the first entry.
    """
    counts = items["train_count"].to_numpy().astype(float)
    tenth = _tenths(counts)
    shares = {TRAINING: _shares(tenth, counts)}
    table = events.unify_dictionaries().group_by(["policy", "item_id"]).aggregate([([], "count_all")])
    for policy in sorted(set(table["policy"].to_pylist())):
        rows = table.filter(pc.equal(table["policy"], policy))
        index = pc.index_in(rows["item_id"].cast(items["item_id"].type), value_set=items["item_id"].combine_chunks())
        known = pc.is_valid(index).to_numpy(zero_copy_only=False)
        places = pc.fill_null(index, 0).to_numpy(zero_copy_only=False)[known]
        shares[policy] = _shares(tenth[places], rows["count_all"].to_numpy()[known].astype(float))
    return shares


def exposure_plot(events: pa.Table, items: pa.Table, stands: Standings) -> Figure | None:
    """Draw each policy's exposure as a bar cut into tenths of the catalogue; None for an empty catalogue."""
    if items.num_rows == 0:
        return None
    shares = exposure(events, items)
    rows = [TRAINING, *(policy for policy in stands.policies if policy in shares)]
    begin, names = row_labels(rows)
    x = Scale(0, 1, begin, WIDTH - 8)
    bottom = 10 + ROW * len(rows) + 6
    parts: list[str] = []
    for number, name in enumerate(rows):
        top = 10 + ROW * number + (0 if number == 0 else 6)
        parts.append(label(x.start - 8, top + 15, name, names[name], "end"))
        parts.append(_cut_bar(name, shares[name], x, top))
    parts.append(line(x.start, bottom + 2, x.end, bottom + 2, "axis"))
    for mark in (0, 0.25, 0.5, 0.75, 1):
        parts.append(text(x(mark), bottom + 18, percent(mark), "tick", "middle" if mark < 1 else "end"))
    parts.append(text((x.start + x.end) / 2, bottom + 34, "share of all places shown", "title", "middle"))
    title = "Who gets shown"
    tops = [f"{name} {percent(float(shares[name][0]))}" for name in rows]
    caption = (
        "A long dark start means that the most popular tenth of the catalogue takes most places;"
        " a policy darker than the training rows makes the popular more popular still."
    )
    describes = f"Share of exposure going to the most popular tenth of the catalogue: {'; '.join(tops)}."
    legend = [
        (f"t{part}", word) for part, word in ((0, "most popular tenth"), (4, "middle"), (9, "least popular tenth"))
    ]
    return Figure(title, caption, drawing("exposure", title, describes, WIDTH, bottom + 42, *parts), legend)


def _cut_bar(name: str, shares: FloatArray, x: Scale, top: float) -> str:
    ends = np.concatenate([[0.0], np.cumsum(shares)])
    parts = [
        bar(
            x(begin),
            top,
            x(end) - x(begin),
            ROW - 6,
            f"t{part} cut",
            f"{name}, tenth {part + 1}: {percent(end - begin)}",
        )
        for part, (begin, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        if end > begin
    ]
    if x(float(shares[0])) - x(0) > text_width(percent(float(shares[0])), TICK * BOLD) + 8:
        parts.append(text(x(0) + 5, top + 14, percent(float(shares[0])), "on"))
    return parts[0].__class__("").join(parts) if parts else ""


def _tenths(counts: FloatArray) -> IntArray:
    order = np.argsort(-counts, kind="stable")
    tenth = np.empty(len(counts), dtype=np.int64)
    tenth[order] = np.arange(len(counts)) * PARTS // max(len(counts), 1)
    return tenth


def _shares(tenth: IntArray, weights: FloatArray) -> FloatArray:
    sums = np.bincount(tenth, weights, PARTS)
    return sums / (sums.sum() or 1.0)
