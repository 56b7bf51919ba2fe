"""What is known in words: the items' titles and categories, and what users state of themselves."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from simenv.arrays import BoolArray

WORD = re.compile(r"\w+")
YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
ARTICLE = re.compile(r"^(.*), (?:the|a|an)$", re.I)
LEAST_WORDS, LEAST_LETTERS = 2, 8  # of a title that cannot be taken for plain prose
Title = tuple[str, ...]  # a title's words in small letters, without year and article


@dataclass(frozen=True, eq=False)
class Statements:
    """Titles and categories by the items' numbers, and personas by the users'; empty where they are not known."""

    titles: Sequence[str | None] = ()
    categories: Sequence[Sequence[str]] = ()
    personas: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rejected", {})

    @cached_property
    def rejecting(self) -> list[int]:
        """Users who state something that they dislike."""
        return [user for user in self.personas if self._sentences(user, "dislikes")]

    def rejected(self, user: int) -> BoolArray:
        """Return which items are of a kind that a user states to dislike, and of none that they state to like: [I]."""
        known: dict[int, BoolArray] = self._rejected  # type: ignore[attr-defined]
        if user not in known:
            bad, good = (self._stated(self._sentences(user, part)) for part in ("dislikes", "tastes"))
            known[user] = np.array([bool(bad & set(names)) and not good & set(names) for names in self.categories])
        return known[user]

    def _stated(self, sentences: Sequence[str]) -> set[str]:
        """Return the categories that sentences name; the titles that stand for them as examples do not count."""
        heads = " | ".join(str(sentence).partition(", such as")[0] for sentence in sentences).casefold()
        return {name for name in self._names if re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", heads)}

    @cached_property
    def _names(self) -> set[str]:
        return {name for names in self.categories for name in names}

    def named(self, text: str) -> set[Title]:
        """Return the titles in a text, each the longest at its place, if they are written as titles are."""
        found: set[Title] = set()
        raw = WORD.findall(text)
        words = [word.casefold() for word in raw]
        place = 0
        while place + LEAST_WORDS <= len(words):
            fitting = [
                one
                for one in self._by_beginning.get((words[place], words[place + 1]), ())
                if tuple(words[place : place + len(one)]) == one
            ]
            longest = max(fitting, key=len, default=())
            if longest and all(_is_capital(raw[at]) for at in (place, place + len(longest) - 1)):
                found.add(longest)
                place += len(longest)
            else:
                place += 1
        return found

    def title(self, item: int) -> Title:
        """Return an item's title as `named` finds it; () where it has none."""
        return self._titles[item] if item < len(self.titles) else ()

    def stated(self, user: int) -> set[Title]:
        """Return the titles that stand in what a user states of themselves."""
        return self.named(" | ".join(self._sentences(user, "tastes") + self._sentences(user, "dislikes")))

    def _sentences(self, user: int, part: str) -> list[str]:
        told = self.personas.get(user, {}).get(part)
        return [str(one) for one in told] if isinstance(told, list | tuple) else []

    @cached_property
    def _titles(self) -> list[Title]:
        return [title_words(one or "") for one in self.titles]

    @cached_property
    def _by_beginning(self) -> dict[tuple[str, str], list[Title]]:
        found: dict[tuple[str, str], list[Title]] = defaultdict(list)
        for title in set(self._titles):
            if len(title) >= LEAST_WORDS and sum(map(len, title)) >= LEAST_LETTERS:
                found[title[0], title[1]].append(title)
        return found


def title_words(title: str) -> Title:
    """Return a title's words in small letters, without year and article."""
    plain = YEAR.sub("", title)
    moved = ARTICLE.match(plain)
    words = [word.casefold() for word in WORD.findall(moved.group(1) if moved else plain)]
    return tuple(words[1:] if len(words) > LEAST_WORDS and words[0] in ("the", "a", "an") else words)


def _is_capital(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit()
