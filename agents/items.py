"""Items as agents: each remembers, in a few words, what kind of user likes it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from simenv.catalog import Catalog
from simenv.plain_text import bracketed, one_line, quoted

from .meaning import WordWeights, words_of

MOST_WORDS = 50  # of an item's memory
LETTERS = 8  # that a word may have on average


@dataclass(slots=True)
class ItemMemory:
    """What an item says of itself: facts that never change, and a text that does."""

    title: str
    categories: tuple[str, ...]
    text: str
    versions: list[str] = field(default_factory=list)  # earlier texts, the oldest first
    read: str = ""  # how the model's last word on it was read; '' where it was not asked

    @property
    def named(self) -> str:
        """Its title and categories."""
        return item_name(self.title, self.categories)

    def rewrite(self, text: str) -> None:
        """Say something else from now on, cut to its length."""
        self.versions.append(self.text)
        self.text = shortened(text, MOST_WORDS)

    def drift(self, weights: WordWeights) -> float:
        """Return how far the text has come from its first: 0 for the same words, 1 where none is left."""
        if not self.versions:
            return 0.0
        first, now = weights.vector(self.versions[0]), weights.vector(self.text)
        return min(max(float(1 - first @ now), 0.0), 1.0)


def item_name(title: str, categories: Sequence[str]) -> str:
    """Return an item as prompts and memories name it: its title in quotes, its categories in brackets."""
    kinds = bracketed(tuple(categories))
    return f"{quoted(title)} {kinds}" if kinds else quoted(title)


def item_memory(catalog: Catalog, item: int) -> ItemMemory:
    """Return an item's memory as it is before anybody met it: its description, or nothing but its facts."""
    return ItemMemory(
        catalog.title(item), catalog.categories[item], shortened(catalog.descriptions[item] or "", MOST_WORDS)
    )


def year_of(catalog: Catalog, item: int) -> str:
    """Return the year of an item in words; '' where none is known."""
    return "" if np.isnan(catalog.years[item]) else f"{catalog.years[item]:.0f}"


def contradiction(memory: ItemMemory, text: str, known: Sequence[str]) -> str | None:
    """Say where a text denies a category that the item has, or claims one of those known that it has not."""
    plain = " ".join(words_of(text))
    for name in known:
        spoken = " ".join(words_of(name))
        if not spoken or spoken not in plain:
            continue
        denied = re.search(rf"\b(not|no|never|neither)( an| a| really)? {re.escape(spoken)}\b", plain)
        if name in memory.categories and denied:
            return f"'{memory.title}' is {name}; do not deny it"
        claimed = re.search(rf"\b(this|it) is( an| a)? {re.escape(spoken)}\b", plain)
        if name not in memory.categories and claimed:
            return f"'{memory.title}' is not {name}; do not claim it"
    return None


def shortened(text: str, most: int) -> str:
    """Return a text in one line, cut after so many words of common length."""
    return " ".join(one_line(text).split()[:most])[: most * LETTERS]
