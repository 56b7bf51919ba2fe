"""What an agent remembers: records that fade, are found again by what they are about, and are thought over.

A record's score is recency times importance times relevance, each from 0 to 1, each to a declared power. What is
forgotten is the record with the least recency times importance, once there are more than fit.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from simenv.errors import SimenvError

LEAST = 0.01  # importance: below it nothing is told apart
ANYWAY = 0.1  # relevance of a record that is about something else
WORDS = re.compile(r"\w\w+")
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
        if not 0 < self.fading <= 1:
            raise SimenvError(f"memory: fading is {self.fading}; it must be above 0 and at most 1")
        if self.capacity < 1 or self.recall < 0:
            raise SimenvError(f"memory: capacity is {self.capacity} and recall {self.recall}; at least 1, and 0")
        if not min(self.recency, self.importance, self.relevance, self.reflect_after) >= 0:
            raise SimenvError("memory: recency, importance, relevance and reflect_after must not be below 0")


class Weights(Protocol):
    """How much a word tells: what a relevance is made of."""

    def vector(self, text: str) -> Mapping[str, float]:
        """Return the weight of each word of a text, of length 1."""
        ...


class WordWeights:
    """TF-IDF over the texts that there are; a word in none of them counts as the rarest."""

    def __init__(self, texts: Iterable[str]) -> None:
        holders: dict[str, int] = {}
        count = 0
        for text in texts:
            count += 1
            for word in set(words_of(text)):
                holders[word] = holders.get(word, 0) + 1
        self._idf = {word: 1 + math.log((1 + count) / (1 + number)) for word, number in holders.items()}
        self._rarest = 1 + math.log(1 + count)

    def vector(self, text: str) -> dict[str, float]:
        """Return the weight of each word of a text, of length 1."""
        told: dict[str, float] = {}
        for word in words_of(text):
            told[word] = told.get(word, 0.0) + self._idf.get(word, self._rarest)
        length = math.sqrt(sum(weight * weight for weight in told.values())) or 1.0
        return {word: weight / length for word, weight in told.items()}


def words_of(text: str) -> list[str]:
    """Return the words of a text, without case."""
    return WORDS.findall(text.lower())


@dataclass(frozen=True, slots=True)
class Remembered:
    """A record of the memory."""

    number: int  # counted from 0 through the agent's life
    page: int  # when it was written
    kind: Kind
    text: str
    importance: float  # 0 to 1
    about: Mapping[str, float] = field(compare=False, hash=False)  # the weights of its words
    lasting: float  # what recency and importance add to the logarithm of its score, but for what all share


class Memory:
    """One agent's records."""

    def __init__(self, rules: Remembering, weights: Weights) -> None:
        self.rules, self.weights = rules, weights
        self._fading, self._strength = rules.recency * math.log(rules.fading), rules.importance
        self.records: list[Remembered] = []
        self._holders: dict[str, dict[int, float]] = {}  # by word, the records that hold it, and its weight there
        self.written = 0  # records ever
        self.gathered = 0.0  # importance since the last reflection
        self.news: list[tuple[int, Kind, str, float]] = []  # written since they were last taken

    def write(self, page: int, kind: Kind, text: str, importance: float) -> None:
        """Add a record, and forget the least of all if there are too many."""
        self.news.append((page, kind, text, round(importance, 4)))
        # All records fade alike from page to page, so which of two is stronger never changes.
        lasting = self._strength * math.log(max(importance, LEAST)) - self._fading * page
        record = Remembered(self.written, page, kind, text, importance, self.weights.vector(text), lasting)
        self.written += 1
        self.records.append(record)
        for word, weight in record.about.items():
            self._holders.setdefault(word, {})[record.number] = weight
        self.gathered = 0.0 if kind == "belief" else self.gathered + importance
        if len(self.records) > self.rules.capacity:
            scores = [one.lasting for one in self.records]
            self._forget(self.records.pop(scores.index(min(scores))))  # the older of equals

    def take_news(self) -> str:
        """Return what was written since this was last asked, as JSON; `relive` takes it back."""
        told, self.news = json.dumps(self.news, ensure_ascii=False), []
        return told

    def relive(self, told: str) -> None:
        """Write again what was written at a page."""
        for page, kind, text, importance in json.loads(told):
            self.write(page, kind, text, importance)

    def recall(self, about: str, most: int | None = None) -> list[Remembered]:
        """Return the records that score best for what this is about, the oldest first."""
        count = self.rules.recall if most is None else most
        if len(self.records) <= count:
            return list(self.records)
        power, match = self.rules.relevance, dict[int, float]()
        for word, weight in self.weights.vector(about).items():
            for number, theirs in self._holders.get(word, {}).items():
                match[number] = match.get(number, 0.0) + weight * theirs
        more = {number: power * math.log(ANYWAY + (1 - ANYWAY) * found) for number, found in match.items()}
        none = power * math.log(ANYWAY)
        scored = [(one.lasting + more.get(one.number, none), place) for place, one in enumerate(self.records)]
        scored.sort()
        return [self.records[place] for place in sorted(place for _, place in scored[len(scored) - count :])]

    def _forget(self, record: Remembered) -> None:
        for word in record.about:
            holders = self._holders[word]
            del holders[record.number]
            if not holders:
                del self._holders[word]

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
