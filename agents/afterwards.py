"""After the sessions: items think over who took them, and say something new of themselves.

Nobody reads what they say before all sessions are over, so no session depends on another. Another run may begin with
what they said.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pyarrow as pa

from simenv.chance import stream
from simenv.chat.crowd import Crowd

from .meaning import WordWeights
from .shelf import Shelf
from .writing import Writer

MOST_MET = 8  # of those who met an item that it is told of
DEEDS = {
    "liked": "liked it",
    "viewed": "took it and found it middling",
    "disliked": "took it and did not like it",
    "passed": "looked at it and passed on",
}
TAKEN = ("liked", "viewed", "disliked")
Met = list[tuple[object, str, float | None]]  # who, what he did, and his rating


def think_over(
    shelf: Shelf, writer: Writer, words: WordWeights, events: pa.Table, who: Callable[[object], str]
) -> list[dict[str, Any]]:
    """Return what each item that was taken says of itself after the sessions, for each policy and seed apart."""
    shelf.recollect(events)
    rows: list[dict[str, Any]] = []
    for (policy, seed), items in sorted(_met(events).items()):
        taken = {item: met for item, met in items.items() if any(deed in TAKEN for _, deed, _ in met)}
        index = shelf.dataset.catalog.index(list(taken)).tolist()
        memories = {item: deepcopy(shelf.memory(place)) for item, place in zip(taken, index, strict=True)}
        Crowd[object, None]().all(
            (item, writer.afterwards(memory, _lines(taken[item], who, place)))
            for (item, memory), place in zip(memories.items(), index, strict=True)
        )
        for item, memory in memories.items():
            rows.append(
                {
                    "policy": policy,
                    "seed": seed,
                    "item_id": item,
                    "text": memory.text,
                    "before": memory.versions,
                    "drift": round(memory.drift(words), 4),
                    "met": len(taken[item]),
                    "read": memory.read,
                    "liked": sum(deed == "liked" for _, deed, _ in taken[item]),
                }
            )
    return rows


def _met(events: pa.Table) -> dict[tuple[str, int], dict[object, Met]]:
    """Return, by policy and seed, the items and those who looked at them."""
    found: dict[tuple[str, int], dict[object, Met]] = defaultdict(lambda: defaultdict(list))
    columns = ["policy", "seed", "user_id", "item_id", "grade", "rating"]
    for row in events.select(columns).to_pylist():
        if row["grade"] in DEEDS:
            found[row["policy"], row["seed"]][row["item_id"]].append((row["user_id"], row["grade"], row["rating"]))
    return found


def _lines(met: Met, who: Callable[[object], str], item: int) -> list[str]:
    """Return what an item is told of those who met it: of all, or of some drawn by lot."""
    chosen: Sequence[int] = range(len(met))
    if len(met) > MOST_MET:
        chosen = sorted(stream(0, "afterwards", item).choice(len(met), size=MOST_MET, replace=False).tolist())
    lines = []
    for place in chosen:
        user, deed, rating = met[place]
        lines.append(f"{who(user)}: {DEEDS[deed]}" + ("" if rating is None else f", rated {rating:g}"))
    return lines
