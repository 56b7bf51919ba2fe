"""A stand-in for a language model: no weights, a few plain rules over the very messages that a model would get.

It likes what shares words with the tastes it is told of, dislikes what it is told it dislikes, tires of what its
memories are full of, and heeds its beliefs. It answers within the schema, the same for the same question and draw.
Reports call it a stand-in, never a language model.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .model import Answer, ChatModel, Question

ITEM = re.compile(r"^([A-Z]{1,2})\. (.+)$")
WORD = re.compile(r"[^\W_]{3,}")
NAMED = re.compile(r'^"[^"]*"(?: \[([^\]]*)\])?')  # an item as prompts name it: its title, its kinds
NAMED_WITHIN = re.compile(r'"[^"]*" \[([^\]]*)\]')
HEADING = re.compile(r"^# (.+)$|^(You (?:dis)?like):$")
RATED = re.compile(r", rated (\d(?:\.\d+)?)$")
LIKES = re.compile(r"one who likes ([^;:]+)")
UNLOVED = re.compile(r"I do not care for [^.]*\.")
DONE = re.compile(
    r'^You (took|passed over|did not look at) "[^"]*"(?: \[[^\]]*\])?(?:, rated (\d) of 5|, not rated|\.)'
)
PAGE = re.compile(r"^- \(page (\d+)\) (.+)$")
OWN = ("who you are", "who met them", "who you were before", "what you took so far, the latest last")
MOST_LIKED = 100  # words of an introduction
COMMON = {"such", "and", "the", "for", "with", "you", "rated", "others", "taken", "like", "dislike"}
TAKE, LOOK = 0.55, 0.15  # of an item's worth: from here on it is taken, or looked at
BORED = 0.12  # worth lost for each memory that names the item's kind


KIND = "scripted"


def is_stand_in(model: ChatModel) -> bool:
    """Tell whether a model is a stand-in by rules, as its settings say."""
    return model.settings.get("kind") == KIND


class Scripted:
    """Answers by rules; `seed` tells one stand-in from another."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what its answers follow from."""
        return {"kind": KIND, "seed": self.seed, "rules": 3}

    async def ask(self, question: Question) -> Answer:
        """Return the answer of the rules."""
        plain = question.schema is None
        text = (
            _Reader(question, self.seed).own_words() if plain else json.dumps(self.answer(question), ensure_ascii=False)
        )
        heard = sum(len(message.text) for message in question.messages)
        return Answer(text, tokens_in=heard // 4, tokens_out=len(text) // 4)

    async def close(self) -> None:
        """Nothing is held."""

    def answer(self, question: Question) -> dict[str, Any]:
        """Return the answer as a mapping."""
        reader = _Reader(question, self.seed)
        wanted = set((question.schema or {}).get("properties", ()))
        if "items" in wanted:
            return reader.page()
        if "then" in wanted:
            return reader.parting(reader.done)
        if "belief" in wanted:
            return reader.belief()
        if "choice" in wanted:
            return reader.choice()
        if "introduction" in wanted:
            return reader.introduction()
        if "tastes" in wanted:
            return reader.portrait()
        if "keywords" in wanted:
            return {"keywords": reader.keywords()}
        if "text" in wanted:
            return {"text": reader.blurb()}
        if "first" in wanted:
            return reader.retold()
        if "order" in wanted:
            return {"order": sorted((letter for letter, _ in reader.items), key=lambda one: -reader.match(one))}
        if {"satisfaction", "why"} <= wanted:
            return reader.verdict()
        return {name: reader.own_words() for name in sorted(wanted)}


class _Reader:
    """What the stand-in reads out of a question."""

    def __init__(self, question: Question, seed: int) -> None:
        self.seed, self.draw = seed, question.draw
        self.tastes: list[set[str]] = []
        self.dislikes: list[set[str]] = []
        self.memories: list[tuple[int, str]] = []
        self.beliefs: list[str] = []
        self.items: list[tuple[str, str]] = []
        self.more: dict[str, str] = {}  # what is said of an item below its line
        self.told: list[str] = []  # of a person's past, or of who met an item
        self.title = ""  # of the one item that is spoken of
        self.done: list[int] = []  # with each item of the page before, its rating or 0
        self.own = ""  # who is asked, in his own words
        part = ""
        for line in (line for message in question.messages for line in message.text.splitlines()):
            if heading := HEADING.match(line):
                part = (heading[1] or heading[2]).lower()
            elif line.startswith("- ") and part == "you like":
                self.tastes.append(_words(line.split(", such as")[0]))
            elif line.startswith("- ") and part == "you dislike":
                self.dislikes.append(_words(line.split(", such as")[0]))
            elif told := PAGE.match(line):
                if part.startswith("what you have come"):
                    self.beliefs.append(told[2].lower())
                else:
                    self.memories.append((int(told[1]), told[2].lower()))
            elif line.startswith("- ") and part.startswith(("what a person took", "who met it")):
                self.told.append(line[2:])
            elif done := DONE.match(line):
                self.done.append(int(done[2] or 0))
            elif item := ITEM.match(line):
                self.items.append((item[1], item[2]))
            elif self.items and line.startswith("   "):
                self.more[self.items[-1][0]] = line.strip()
            elif part == "an item" and not self.title:
                self.title = line
            elif part in OWN:
                self.own += " " + line
        self.who = "\n".join(message.text for message in question.messages if message.role == "system")

    def luck(self, *names: object) -> float:
        """Return a number from 0 to 1 that follows from who is asked, the draw and these names."""
        told = repr((self.seed, self.draw, names)).encode()
        return int.from_bytes(hashlib.blake2b(told, digest_size=4).digest()) / 2**32

    def worth(self, text: str) -> float:
        """Return how much an item is wanted: about 1 for the first taste, below 0 for what is disliked."""
        words = _words(text)
        worth = max((1.0 - 0.08 * place for place, taste in enumerate(self.tastes) if taste & words), default=0.1)
        worth -= 0.8 * any(taste & words for taste in self.dislikes)
        kind = _words(_kinds(text))
        seen = sum(len(kind & _words(memory)) > 0 for _, memory in self.memories) if kind else 0
        worth -= BORED * min(seen, 4)
        for belief in self.beliefs:
            if kind & _words(belief):
                worth += -0.5 if "enough" in belief else 0.3
        return worth + 0.5 * (self.luck("worth", text) - 0.5)

    def page(self) -> dict[str, Any]:
        """Return what is done with each item, and with the page."""
        items: list[dict[str, Any]] = []
        for letter, text in self.items:
            worth = self.worth(text)
            act = "take" if worth >= TAKE else "pass" if worth >= LOOK else "skip"
            rating = 0
            if act == "take":
                rating = min(max(round(3 + 2.5 * (worth - 0.75) + 1.6 * (self.luck("rating", text) - 0.5)), 1), 5)
            feeling = ("", "I regret it", "not much", "it was all right", "I liked it", "I loved it")[rating]
            items.append({"letter": letter, "act": act, "rating": rating, "feeling": feeling})
        return {"items": items} | self.parting([item["rating"] for item in items])

    def parting(self, ratings: Sequence[int]) -> dict[str, Any]:
        """Return what is made of a page, given the rating of each item, 0 for what was not taken."""
        share = sum(rating - 2.5 for rating in ratings if rating) / max(len(ratings), 1)
        satisfaction = min(max(round(4.5 + 5 * share), 1), 10)
        tired = 0.1 * len({page for page, _ in self.memories})
        leave = self.luck("leave", len(self.memories)) < 0.08 + tired + 0.35 * (satisfaction < 4)
        why = (
            "nothing here is for me" if satisfaction < 4 else "I have seen enough" if leave else "there is more for me"
        )
        then = "stay" if not leave else "disappointed" if satisfaction < 4 else "tired"
        return {"satisfaction": satisfaction, "then": then, "why": why}

    def match(self, letter: str) -> float:
        """Return how many words of what one likes an item shares, and a little luck."""
        text = f"{dict(self.items)[letter]} {self.more.get(letter, '')}"
        liked = _words(UNLOVED.sub("", self.own))
        return len(liked & _words(text)) + 0.5 * self.luck("match", dict(self.items)[letter])

    def choice(self) -> dict[str, Any]:
        """Return which of two items one would take."""
        choice = max(("A", "B"), key=self.match)
        return {"choice": choice, "why": f"it is more like me: {dict(self.items)[choice]}"}

    def introduction(self) -> dict[str, Any]:
        """Return what one likes: the words of what was taken, those of before, without those of what was left alone."""
        (_, taken), (_, left) = self.items[0], self.items[1]
        before = self.own.partition("I like: ")[2].partition(". I do not")[0].split(", ")
        learnt = _words(taken) - _words(left)
        liked = [*sorted(learnt), *(word for word in before if word and word not in learnt)][:MOST_LIKED]
        others = sorted(_words(left) - _words(taken) - set(liked))
        return {"introduction": f"I like: {', '.join(liked)}. I do not care for {', '.join(others)}."}

    def retold(self) -> dict[str, Any]:
        """Return what kind of people like the first of two items; the second is for others."""
        liked = self.own.partition("I like: ")[2].partition(". I do not")[0]
        return {"first": f"Liked by people who like {liked}.", "second": self.more.get("B", "")}

    def portrait(self) -> dict[str, Any]:
        """Return the kinds that were rated well or not at all, the most frequent first, and those that were not."""
        good: dict[str, int] = {}
        bad: dict[str, int] = {}
        ratings = [float(rating) for line in self.told for rating in RATED.findall(line)]
        for line in self.told:
            rating = RATED.search(line)
            counts = bad if rating is not None and float(rating[1]) <= sum(ratings) / len(ratings) - 1 else good
            for kind in _kinds(line).split(", "):
                counts[kind or line] = counts.get(kind or line, 0) + 1
        tastes = sorted(good, key=lambda kind: (-good[kind], kind))[:5]
        dislikes = [kind for kind in sorted(bad, key=lambda kind: (-bad[kind], kind)) if kind not in tastes][:2]
        habit = f"somebody who rates {sum(ratings) / len(ratings):.1f} on average" if ratings else ""
        return {"tastes": tastes or self.told[:1], "dislikes": dislikes, "habit": habit}

    def blurb(self) -> str:
        """Return for whom an item is: for those who liked it, or else for those who like its kind."""
        liked = sorted({who for line in self.told if ": liked it" in line for who in LIKES.findall(line)})
        kinds = _kinds(self.title)
        return f"For people who like {'; '.join(liked[:3]) or kinds or 'such things'}."

    def keywords(self) -> list[str]:
        """Return an item's kinds, and the longest words of its title."""
        kinds, title = _kinds(self.title), self.title.rpartition('"')[0]
        words = sorted(_words(title), key=lambda word: (-len(word), word))
        return [*filter(None, kinds.lower().split(", ")), *words][:8] or [title.strip('"')]

    def belief(self) -> dict[str, Any]:
        """Return what the memories add up to: of which kind there was enough."""
        counts: dict[str, int] = {}
        for _, memory in self.memories:
            for word in _words(_first_kinds(memory)):
                counts[word] = counts.get(word, 0) + 1
        if not counts:
            return {"belief": "I do not know yet what this recommender is good for."}
        most = max(sorted(counts), key=counts.__getitem__)
        return {"belief": f"I have had enough of {most} for now."}

    def verdict(self) -> dict[str, Any]:
        """Return how satisfied the memories sound."""
        good = sum("satisfied" in memory and "dissatisfied" not in memory for _, memory in self.memories)
        bad = sum("dissatisfied" in memory for _, memory in self.memories)
        return {"satisfaction": min(max(5 + 2 * (good - bad), 1), 10), "why": self.own_words()}

    def own_words(self) -> str:
        """Return a sentence about what is remembered last."""
        return f"What I remember last: {self.memories[-1][1]}" if self.memories else "I remember nothing."


def _kinds(line: str) -> str:
    """Return the categories of the item that a line begins with, as they stand there; '' where it has none."""
    named = NAMED.match(line)
    return (named[1] or "") if named else ""


def _first_kinds(memory: str) -> str:
    """Return the categories of the first item that a memory names and that has any."""
    named = NAMED_WITHIN.search(memory)
    return named[1] if named else ""


def _words(text: str) -> set[str]:
    return {word for word in WORD.findall(text.lower()) if word not in COMMON}
