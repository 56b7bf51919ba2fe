"""A data card: what a file of preferences holds, where it comes from, and what was left out of it."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simenv.arrays import IntArray
from simenv.pages import GRADE_WORDS
from simenv.plain_text import one_line

from .converting import Labels, Pairs
from .exporting import Export

QUARTILES = (0.25, 0.5, 0.75)


def card_of(export: Export, found: Pairs | Labels, rows: int, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file of `rows` rows holds; `told` is what the caller knows of how it was made."""
    records, grades = export.records, export.records.candidates.grades
    _, counts = np.unique(found.users, return_counts=True)
    origin = found.rows
    if isinstance(found, Pairs):
        kinds = [
            f"{GRADE_WORDS[one]} over {GRADE_WORDS[other]}"
            for one, other in zip(grades[found.chosen_at], grades[found.rejected_at], strict=True)
        ]
        sides = {"chosen": found.chosen, "rejected": found.rejected}
    else:
        kinds = [GRADE_WORDS[grade] for grade in grades[found.at]]
        sides = {"chosen": found.items[found.good], "rejected": found.items[~found.good]}
    return {
        **told,
        "rows": rows,
        "pairs" if isinstance(found, Pairs) else "labels": len(found),
        "users": len(counts),
        "most_of_a_user": int(counts.max(initial=0)),
        "pasts": len(np.unique(origin)),
        "history": _spread(records.history.lengths[np.unique(origin)]),
        "by_source": _counted(records.sources[origin]),
        "by_policy": _counted(records.policies[origin]),
        "by_seed": _counted(records.seeds[origin]),
        "by_page": _counted(records.pages[origin]),
        "by_grades": _counted(kinds),
        "gaps": _counted(found.gaps) if isinstance(found, Pairs) else {},
        "confidence": _spread(found.confidence),
        "items": {side: len(np.unique(items)) for side, items in sides.items()},
        "popularity": {side: _spread(export.train.popularity[items]) for side, items in sides.items()},
        "length": {side: _spread(export.wording.lengths[items]) for side, items in sides.items()},
    }


def write_card(path: Path, card: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write the card beside a file of preferences, as JSON and to read; return where."""
    places = path.with_name(f"{path.name}.card.json"), path.with_name(f"{path.name}.card.md")
    texts = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n", markdown(path.name, card)
    for place, text in zip(places, texts, strict=True):
        unfinished = place.with_name(f".{place.name}.unfinished")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(place)
    return places


def markdown(name: str, card: Mapping[str, Any]) -> str:
    """Return the card to read."""
    parts = [f"# {name}", ""]
    for key, value in card.items():
        if not isinstance(value, dict):
            parts.append(f"- {_words(key)}: {_figure(value)}")
    for key, value in card.items():
        if isinstance(value, dict) and value:
            parts += ["", f"## {_words(key)}", "", *_table(value)]
    return "\n".join(parts) + "\n"


def _table(value: Mapping[str, Any]) -> list[str]:
    if not all(isinstance(one, dict) for one in value.values()):
        return ["| | |", "|---|---|", *(f"| {_words(key)} | {_figure(one)} |" for key, one in value.items())]
    columns = list(next(iter(value.values())))
    lines = [f"| | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    return lines + [
        f"| {_words(key)} | {' | '.join(_figure(one.get(column)) for column in columns)} |"
        for key, one in value.items()
    ]


def _words(key: str) -> str:
    return _safe(key.replace("_", " "))


def _figure(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _safe(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _safe(text: str) -> str:
    """Return a text from data as one line of Markdown that begins no cell, tag or link."""
    return re.sub(r"([|<>`\[\]])", r"\\\1", one_line(text))


def _counted(values: Any) -> dict[str, int]:
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    named = Counter(f"{one:g}" if isinstance(one, float) else one for one in plain)
    return {str(one): named[one] for one in sorted(named)}


def _spread(values: IntArray | Any) -> dict[str, float | None]:
    """Return mean and quartiles of what is known; None where nothing is."""
    values = np.asarray(values)
    values = values[np.isfinite(values)]
    if not len(values):
        return dict.fromkeys(("mean", "lower quarter", "median", "upper quarter"))
    quarters = np.quantile(values, QUARTILES)
    figures = (float(np.mean(values)), *map(float, quarters))
    return dict(
        zip(("mean", "lower quarter", "median", "upper quarter"), (round(one, 4) for one in figures), strict=True)
    )
