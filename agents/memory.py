"""What an agent remembers: records that fade, are found again by what they are about, and are thought over.

A record's score is recency times importance times relevance, each from 0 to 1, each to a declared power. What is
forgotten is the record with the least recency times importance, once there are more than fit.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from simenv.arrays import FloatArray
from simenv.options import check_number, check_whole

from .meaning import Meanings, nearness

LEAST = 0.01  # importance: below it nothing is told apart
ANYWAY = 0.1  # relevance of a record that is about something else
DUMPS = json.JSONEncoder(ensure_ascii=False).encode
ROOM = 16  # records that there is room for at first
Kind = Literal["fact", "feeling", "belief"]


@dataclass(frozen=True, slots=True)
class Remembering:
    """How an agent remembers; declared."""

    capacity: int = 50  # records
    recall: int = 5  # that a prompt holds
    fading: float = 0.9  # of recency, with each page since
    recency: float = 1.0  # powers of the three parts of a score
    importance: float = 1.0
    relevance: float = 1.0
    reflect_after: float = 2.0  # importance gathered since the last reflection; infinite: never

    def __post_init__(self) -> None:
        check_whole(**{"memory: capacity": self.capacity})
        check_whole(least=0, **{"memory: recall": self.recall})
        check_number(above=0, most=1, **{"memory: fading": self.fading})
        for power in ("recency", "importance", "relevance"):
            check_number(least=0, **{f"memory: {power}": getattr(self, power)})
        if self.reflect_after != math.inf:
            check_number(least=0, **{"memory: reflect_after": self.reflect_after})


class Remembered(NamedTuple):
    """A record of the memory."""

    number: int  # counted from 0 through the agent's life
    page: int  # when it was written
    kind: Kind
    text: str
    importance: float  # 0 to 1
    about: tuple[str, ...] = ()  # names of items, where it is about these alone


class Memory:
    """One agent's records, the oldest first."""

    def __init__(self, rules: Remembering, meanings: Meanings) -> None:
        self.rules, self.meanings = rules, meanings
        self._fading, self._strength = rules.recency * math.log(rules.fading), rules.importance
        self.records: list[Remembered] = []
        self._lasting: list[float] = []  # theirs
        # What the first records are about, and the row of each; the others are looked at when something is recalled.
        self._about: FloatArray = np.empty((0, 0), dtype=np.float32)
        self._rows: list[int] = []
        self._free: list[int] = []  # rows of what was forgotten
        self.written = 0  # records ever
        self.gathered = 0.0  # importance since the last reflection
        self.news: list[tuple[int, Kind, str, float]] = []  # written since they were last taken

    def write(self, page: int, kind: Kind, text: str, importance: float, about: tuple[str, ...] = ()) -> None:
        """Add a record, about these names or else about what its text says; forget the least if there are too many."""
        self.news.append((page, kind, text, round(importance, 4)))
        # All records fade alike from page to page, so which of two is stronger never changes.
        lasting = self._strength * math.log(max(importance, LEAST)) - self._fading * page
        self.records.append(Remembered(self.written, page, kind, text, importance, about))
        self._lasting.append(lasting)
        self.written += 1
        self.gathered = 0.0 if kind == "belief" else self.gathered + importance
        if len(self.records) > self.rules.capacity:
            self._forget(self._lasting.index(min(self._lasting)))  # the older of equals

    def take_news(self) -> str:
        """Return what was written since this was last asked, as JSON; `relive` takes it back."""
        told, self.news = DUMPS(self.news), []
        return told

    def relive(self, told: str) -> None:
        """Write again what was written at a page, to be told; what it was about is now what it says."""
        for page, kind, text, importance in json.loads(told):
            self.write(page, kind, text, importance)

    async def recall(self, names: Sequence[str]) -> list[Remembered]:
        """Return the records that score best for what these names are about, the oldest first."""
        count = self.rules.recall
        if len(self.records) <= count or not self.rules.relevance or not names:
            return self.strongest(count)
        wanted = await self._look(names)
        near = nearness(self._about, np.array(self._rows, dtype=np.int64), wanted)
        return self._best(count, self.rules.relevance * np.log(ANYWAY + (1 - ANYWAY) * near))

    def strongest(self, most: int) -> list[Remembered]:
        """Return the records that score best whatever they are about, the oldest first."""
        return self._best(most)

    async def _look(self, names: Sequence[str]) -> FloatArray:
        """See what the latest records are about; return what the names are."""
        new = self.records[len(self._rows) :]
        texts = [one.text for one in new if not one.about]
        found = iter(await self.meanings.learn(texts, [*names, *(name for one in new for name in one.about)]))
        wanted = self.meanings.together(names)
        if len(new) > len(self._free):
            self._make_room(len(wanted))
        for one in new:
            self._rows.append(self._free.pop())
            self._about[self._rows[-1]] = self.meanings.together(one.about) if one.about else next(found)
        return wanted

    def _make_room(self, dimensions: int) -> None:
        count = len(self._about)
        room = np.zeros((min(max(2 * len(self.records), ROOM), self.rules.capacity), dimensions), dtype=np.float32)
        if count:
            room[:count] = self._about
        self._free += range(count, len(room))
        self._about = room

    def _best(self, most: int, more: FloatArray | float = 0.0) -> list[Remembered]:
        """Return those whose scores are best; of equals the later."""
        if len(self.records) <= most:
            return list(self.records)
        # In millionths, so that no last bit of a product decides.
        scores = ((np.array(self._lasting) + more) * 1e6).astype(np.int64)
        best = scores.argsort(kind="stable")[len(scores) - most :].tolist()
        return [self.records[place] for place in sorted(best)]

    def _forget(self, place: int) -> None:
        del self.records[place], self._lasting[place]
        if place < len(self._rows):
            self._free.append(self._rows.pop(place))

    def beliefs(self) -> list[Remembered]:
        """Return what the agent has come to believe, the oldest first."""
        return [record for record in self.records if record.kind == "belief"]

    @property
    def is_full_of_news(self) -> bool:
        """Whether enough has gathered to think it over."""
        return self.gathered >= self.rules.reflect_after


def told(records: Sequence[Remembered]) -> str:
    """Return records as lines of a prompt."""
    return "\n".join(f"- (page {record.page + 1}) {record.text}" for record in records)
