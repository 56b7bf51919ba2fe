"""One user as an agent: a persona and a memory, asked by page and answering in a form."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from pydantic import BaseModel

from simenv.arrays import BitArray
from simenv.chance import mix_row, uniform
from simenv.chat.asking import HOWS, Outcome, Typed, ask, schema_of
from simenv.chat.model import ChatModel, Message, Question
from simenv.options import check_number
from simenv.pages import Grade

from .answers import ItemAnswer, Looked, PageAnswer, Parting, Thought, Verdict, by_letter, complaint, letters
from .decisions import interview_decisions, page_decisions
from .items import item_name
from .memory import Memory, Remembered, told
from .persona import Persona
from .prompts import filled, prompt
from .session_lengths import USUAL_PAGES
from .tally import Tally

AS_USUAL = "called away"  # the cause of an exit that the anchor alone decides: the usual length is reached
NEUTRAL = 5.0  # satisfaction where no answer could be read
MOST_FEELING = 80  # characters of a feeling that are remembered
LIKED_FROM, DISLIKED_TO = 4, 2  # of 5


@dataclass(frozen=True)
class Shown:
    """An item as it stands on a page."""

    title: str
    categories: tuple[str, ...]
    text: str
    mean: str  # what others rated it, '' where that is hidden
    takers: str

    @cached_property
    def named(self) -> str:
        """Its title and categories, as memories name it."""
        return item_name(self.title, self.categories)

    @cached_property
    def line(self) -> str:
        """What stands on a page after its letter."""
        return prompt("item").render(item=self)


@dataclass(slots=True)
class Deed:
    """What an agent did with a page."""

    grades: Sequence[int]
    ratings: Sequence[float]  # 1 to 5, NaN where none
    satisfaction: float
    leaves: bool
    cause: str
    words: str
    reading: str  # how the answer was read: one of `asking.How`
    feelings: Mapping[int, str] = field(default_factory=dict)  # about what was taken, by place
    remembered: str = "[]"  # what was written to memory, as JSON
    asked: str = "[]"  # the kind of each question and how its answer was read, as JSON
    verdict: float = float("nan")  # after leaving, 1 to 10


@dataclass(frozen=True, slots=True)
class Anchor:
    """How far an agent's own history speaks beside the model; weight 0 is the model alone."""

    weight: float = 0.0
    usual_pages: float = USUAL_PAGES  # of this user's sessions, where nothing is left to the model

    def __post_init__(self) -> None:
        check_number(least=0, most=1, anchor=self.weight)
        check_number(above=0, usual_pages=self.usual_pages)


@dataclass(frozen=True, slots=True)
class Conduct:
    """How agents go about a session; declared."""

    anchor: Anchor = Anchor()
    calls: int = 1  # for a page; 2: what one makes of it is asked apart from what one does with its items
    reflects: bool = False  # once more after the last page


@dataclass(slots=True)
class Agent:
    """A user in a session."""

    persona: Persona
    memory: Memory
    luck: np.uint64  # bits for (seed, user)
    tally: Tally
    conduct: Conduct = Conduct()
    page: int = 0
    system: Message = field(init=False)  # who the agent is and how it answers: the same in each of its prompts
    draw: int = field(init=False)  # likewise
    asked: list[tuple[str, str]] = field(init=False, default_factory=list)  # at this page, and how it was read

    def __post_init__(self) -> None:
        self.system = introduced(self.persona, self.conduct.calls)
        self.draw = int(self.luck & np.uint64(0x7FFFFFFF))

    async def look(self, model: ChatModel, shown: Sequence[Shown | None]) -> Deed:
        """Return what the agent does with a page; a place without an item is None."""
        asked, items, bits = self.turn_to(shown)
        recalled = await self.memory.recall([item.named for item in items.values()])
        outcome = await self._browse(model, items, recalled)
        deed = self._deed(shown, asked, outcome, bits)
        self.remember(shown, deed)
        if deed.leaves:
            await self._part(model, deed)
        elif self.memory.is_full_of_news:
            await self._reflect(model)
        deed.remembered = self.memory.take_news()
        deed.asked, self.asked = _as_json(tuple(self.asked)), []
        return deed

    def turn_to(self, shown: Sequence[Shown | None]) -> tuple[dict[str, int], dict[str, Shown], BitArray]:
        """Begin the next page; return the items' places and the items by their letters, and the luck of leaving [1]."""
        self.page += 1
        places = [place for place, item in enumerate(shown) if item is not None]
        bits = mix_row(self.luck, self.page, len(places) + 1)  # to leave, then the place of each item
        order = bits[1:].argsort().tolist()
        asked = {letter: places[row] for letter, row in zip(letters(len(places)), order, strict=True)}
        items = {letter: item for letter, place in asked.items() if (item := shown[place]) is not None}
        return asked, items, bits[:1]

    async def _browse(
        self, model: ChatModel, items: Mapping[str, Shown], recalled: Sequence[Remembered]
    ) -> Outcome[PageAnswer]:
        """Ask what the agent does with the items, and what it makes of the page: at once, or one after the other."""
        text, known = self.page_text(items, recalled), tuple(items)

        def check(answer: Looked) -> str | None:
            return complaint(answer, known)

        if self.conduct.calls == 1:
            typed = page_decisions(len(items), self.luck, self.page)
            return await self._ask(model, "page", text, PageAnswer, check, typed)
        looked: Outcome[Looked] = await self._ask(model, "page", text, Looked, check)
        value: PageAnswer | None = None
        how = looked.how
        if looked.value is not None:
            done = "\n".join(_done(items[one.letter], one) for one in looked.value.items)
            judging = self._told("parting", recalled, done=done)
            parted: Outcome[Parting] = await self._ask(model, "parting", judging, Parting)
            made = parted.value or Parting(satisfaction=round(NEUTRAL), then="stay", why="")
            value = PageAnswer(items=looked.value.items, **made.model_dump())
            how = max(how, parted.how, key=HOWS.index)
        return Outcome(value, how, looked.calls)

    async def _ask(
        self,
        model: ChatModel,
        kind: str,
        text: str,
        form: type[BaseModel],
        check: Callable[[Any], str | None] | None = None,
        typed: Typed[Any] | None = None,
    ) -> Outcome[Any]:
        decisions = typed.decisions if typed is not None else ()
        messages = (self.system, Message("user", text))
        question = Question(kind, messages, schema_of(form), self.draw, decisions=decisions)
        outcome = await ask(model, question, form, check, typed)
        self.tally.note(kind, outcome)
        self.asked.append((kind, outcome.how))
        return outcome

    def page_text(self, items: Mapping[str, Shown], recalled: Sequence[Remembered]) -> str:
        """Return what the agent is told of a page, its items by their letters."""
        return self._told("page", recalled, items="\n".join(f"{letter}. {item.line}" for letter, item in items.items()))

    def _told(self, name: str, recalled: Sequence[Remembered], **more: str) -> str:
        beliefs, memories = self.memory.beliefs(), [one for one in recalled if one.kind != "belief"]
        return filled(name, beliefs=told(beliefs[-3:]), memories=told(memories), number=str(self.page), **more)

    def _deed(
        self, shown: Sequence[Shown | None], asked: Mapping[str, int], outcome: Outcome[PageAnswer], luck: BitArray
    ) -> Deed:
        grades, ratings = [int(Grade.UNSEEN)] * len(shown), [float("nan")] * len(shown)
        if outcome.value is None:  # nothing was looked at, and nobody leaves
            return Deed(grades, ratings, NEUTRAL, False, "", "", outcome.how)
        feelings: dict[int, str] = {}
        for letter, done in by_letter(outcome.value).items():
            place = asked[letter]
            if done.act == "pass":
                grades[place] = int(Grade.PASSED)
            elif done.act == "take":
                grades[place] = int(_grade(done.rating))
                ratings[place] = float(done.rating) if done.rating else float("nan")
                feelings[place] = done.feeling[:MOST_FEELING]
        answer, weight = outcome.value, self.conduct.anchor.weight
        satisfaction, leaves = float(answer.satisfaction), answer.then != "stay"
        if weight:
            satisfaction = (1 - weight) * satisfaction + weight * (1 + 9 * self._usual(shown))
            hazard = (1 - weight) * leaves + weight / max(self.conduct.anchor.usual_pages, 1.0)
            leaves = bool(uniform(luck)[0] < hazard)
        cause = (AS_USUAL if answer.then == "stay" else answer.then) if leaves else ""
        return Deed(grades, ratings, satisfaction, leaves, cause, answer.why, outcome.how, feelings)

    def _usual(self, shown: Sequence[Shown | None]) -> float:
        """Return how much of the page is in the user's usual categories, the most usual one counting 1."""
        most = max(self.persona.usual.values(), default=0.0)
        shares = [
            max((self.persona.usual.get(name, 0.0) for name in item.categories), default=0.0)
            for item in shown
            if item is not None
        ]
        return sum(shares) / (len(shares) * most) if shares and most else 0.5

    def remember(self, shown: Sequence[Shown | None], deed: Deed) -> None:
        """Write to memory what was done with a page, and what was made of it."""
        taken, passed, about = list[str](), list[str](), list[str]()
        for place, (item, grade, rating) in enumerate(zip(shown, deed.grades, deed.ratings, strict=True)):
            if item is None or grade == Grade.UNSEEN:
                continue
            about.append(item.named)
            if grade == Grade.PASSED:
                passed.append(item.named)
            else:
                feeling = deed.feelings.get(place)
                taken.append(f"{item.named}, {_how(rating)}" + (f" ({feeling})" if feeling else ""))
        fact = f"took {'; '.join(taken)}" if taken else "took nothing"
        if passed:
            fact += f"; passed over {'; '.join(passed)}"
        self.memory.write(self.page - 1, "fact", fact, 0.4 + 0.1 * min(len(taken), 4), tuple(about))
        if deed.reading != "failed":
            mood = "satisfied" if deed.satisfaction >= 6 else "dissatisfied" if deed.satisfaction <= 4 else "lukewarm"
            strength = min(abs(deed.satisfaction - 5.5) / 4.5, 1.0)
            why = f": {deed.words}" if deed.words else ""  # who gives probabilities says nothing
            feeling = f"was {mood} with the page{why}"
            self.memory.write(self.page - 1, "feeling", feeling, 0.2 + 0.6 * strength, tuple(about))

    async def _reflect(self, model: ChatModel) -> None:
        memories = self.memory.strongest(2 * self.memory.rules.recall)
        outcome = await self._ask(model, "reflection", prompt("reflection").render(memories=told(memories)), Thought)
        if outcome.value is None:
            self.memory.gathered = 0.0
        else:
            self.memory.write(self.page - 1, "belief", outcome.value.belief, 0.9)

    async def _part(self, model: ChatModel, deed: Deed) -> None:
        if self.conduct.reflects:
            await self._reflect(model)
        text = prompt("interview").render(
            beliefs=told(self.memory.beliefs()),
            memories=told([one for one in self.memory.records if one.kind != "belief"]),
            pages=self.page,
            cause=deed.cause,
        )
        outcome = await self._ask(model, "interview", text, Verdict, typed=interview_decisions(self.luck))
        verdict: Verdict | None = outcome.value
        if verdict is not None:
            deed.words = f"{deed.words} {verdict.why}".strip()
            deed.verdict = float(verdict.satisfaction)


def answer_by_hand(persona: Persona, memory: Memory, asked: str) -> Question:
    """Return the question that puts words of one's own to an agent, as it is after what it remembers."""
    text = prompt("by_hand").render(
        beliefs=told(memory.beliefs()),
        memories=told([one for one in memory.records if one.kind != "belief"]),
        question=asked,
    )
    return Question("by hand", (introduced(persona), Message("user", text)))


@lru_cache(maxsize=100_000)
def introduced(persona: Persona, calls: int = 1) -> Message:
    """Return who an agent is and how it answers, as its prompts begin."""
    return Message("system", prompt("person").render(persona=persona, calls=calls))


@lru_cache
def _as_json(asked: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(asked)


def _done(item: Shown, deed: ItemAnswer) -> str:
    """Return what was done with an item, in words."""
    if deed.act == "take":
        return f"You took {item.named}, {_how(deed.rating or float('nan'))}. {deed.feeling}".rstrip()
    return f"You passed over {item.named}." if deed.act == "pass" else f"You did not look at {item.named}."


def _grade(rating: int) -> Grade:
    if rating >= LIKED_FROM:
        return Grade.LIKED
    return Grade.DISLIKED if 0 < rating <= DISLIKED_TO else Grade.VIEWED


def _how(rating: float) -> str:
    return f"rated {rating:g} of 5" if rating == rating else "not rated"
