"""Users who are language-model agents: a persona from training rows, memory, reflection, and words of their own."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.chance import stream
from simenv.chat.crowd import Crowd, the_loop
from simenv.chat.model import ChatModel
from simenv.chat.opening import Answers, open_model
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.pages import EMPTY, Page, Reaction

from .agent import Agent, Anchor, Conduct, Deed, Shown, answer_by_hand
from .answers import letters
from .meaning import Meanings, WordWeights
from .memory import Memory, Remembering, told
from .persona import VERSION, Persona, compose
from .prompts import version
from .tally import Tally
from .traits import Traits, traits_of

BYTES_A_TOKEN = 4  # about, in English
ANSWERED = 80  # bytes of an answer for each item, and beside them
MOST_TEXT = 200  # characters of an item's description on a page
SHOWS = ("rating", "popularity")


class LLMPopulation:
    """Reacts to a page by asking a model, once for each user and page, what this user does with it."""

    def __init__(
        self,
        *,
        model: str | Mapping[str, Any] | ChatModel = "scripted",
        show: Sequence[str] = ("rating",),
        anchor: float = 0.0,
        usual_pages: float = 5.0,
        memory: Mapping[str, float] | None = None,
        calls: int = 1,
        most_failed: float = 0.05,
        answers: Answers | None = None,
    ) -> None:
        wrong = [name for name in show if name not in SHOWS]
        if wrong:
            raise SimenvError(f"no '{wrong[0]}' to show; there are {', '.join(SHOWS)}")
        if not 0 <= anchor <= 1:
            raise SimenvError(f"anchor is {anchor}; it must be from 0, the model alone, to 1, the user's history alone")
        try:
            self.rules = Remembering(**(memory or {}))  # type: ignore[arg-type]
        except TypeError as error:
            raise SimenvError(f"memory: {error}") from None
        self.model = open_model(model, answers)
        if not 0 <= most_failed <= 1:
            raise SimenvError(f"most_failed is {most_failed}; it must be a share, from 0 to 1")
        self.most_failed = most_failed
        self.show = tuple(show)
        if calls not in (1, 2):
            raise SimenvError(f"calls is {calls}; a page takes 1, or 2 where it is judged apart from its items")
        self.conduct = Conduct(Anchor(anchor, usual_pages), calls)
        self.tally = Tally(most_failed)
        self._personas: dict[int, Persona] = {}

    def fit(self, dataset: Dataset) -> None:
        """Learn who the users are, and what stands on a page, from training rows."""
        self.dataset = dataset
        self.traits: Traits = traits_of(dataset)
        self.meanings = Meanings(WordWeights(dataset.catalog.text(item) for item in range(len(dataset.catalog))))
        log = dataset.interactions
        rated = np.isfinite(log.ratings)
        counts = np.bincount(log.items[rated], minlength=len(dataset.catalog))
        sums = np.bincount(log.items[rated], log.ratings[rated], len(dataset.catalog))
        self._means: FloatArray = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        known = log.ratings[rated]
        self._scale = (float(known.min()), float(known.max())) if len(known) else None
        self._personas = {}
        self._shown: dict[int, Shown] = {}

    def facts(self) -> dict[str, Any]:
        """Return the model and the prompts that its reactions follow from."""
        settings = dict(self.model.settings)
        scripted = settings.get("kind") == "scripted"
        about = "a scripted stand-in, no language model" if scripted else f"asked of {settings.get('model')}"
        return {"about": about, "model": settings, "prompts": version()}

    def close(self) -> None:
        """Let go of the model's connections and its record."""
        asyncio.run_coroutine_threadsafe(self.model.close(), the_loop()).result()

    def persona(self, user: int) -> Persona:
        """Return a user's persona, composed when it is first needed."""
        if user not in self._personas:
            (self._personas[user],) = compose(self.dataset, [user], self.traits)
        return self._personas[user]

    def persona_told(self, user: int) -> dict[str, Any]:
        """Return a user's persona as JSON holds it, with its mark."""
        persona = self.persona(user)
        return persona.plain() | {"mark": persona.mark, "version": VERSION}

    def answer(self, user: int, remembered: Sequence[str], question: str) -> str:
        """Return what a user says to a question after a session: `remembered` is what the log holds of its pages."""
        memory = Memory(self.rules, self.meanings)
        for page in remembered:
            memory.relive(page)
        asked = self.model.ask(answer_by_hand(self.persona(user), memory, question))
        return asyncio.run_coroutine_threadsafe(asked, the_loop()).result().text

    def session_size(self, user: int, page_size: int, pages: int) -> tuple[int, int, int]:
        """Return the calls, and about how many tokens in and out, of a session that goes on to its last page."""
        rng = stream(0, "session size", user)
        memory = Memory(self.rules, self.meanings)
        agent = Agent(self.persona(user), memory, np.uint64(0), self.tally, self.conduct)
        calls = heard = said = 0
        for number in range(pages):
            agent.page = number + 1
            items = rng.integers(len(self.dataset.catalog), size=page_size).tolist()
            shown = [one for one in map(self.shown, items) if one is not None]
            recalled = memory.strongest(self.rules.recall)
            asked = [agent.page_text(dict(zip(letters(page_size), shown, strict=False)), recalled)]
            memory.write(number, "fact", "took " + "; ".join(f"{one.named}, rated 4 of 5" for one in shown), 0.8)
            memory.write(number, "feeling", "was satisfied with the page, for there was something for me", 0.5)
            if memory.is_full_of_news:
                memory.write(number, "belief", "I have had enough of what I have seen most of, for now.", 0.9)
                asked.append(told(memory.strongest(2 * self.rules.recall)))
            if self.conduct.calls == 2:
                asked.append(asked[0])  # about as long
            if number == pages - 1:
                asked.append(told(memory.records))
            calls += len(asked)
            heard += sum(len(agent.system.text) + len(text) for text in asked) // BYTES_A_TOKEN
            said += (page_size * ANSWERED + ANSWERED * len(asked)) // BYTES_A_TOKEN
        return calls, heard, said

    def shown(self, item: int) -> Shown | None:
        """Return an item as it stands on a page; None for an empty place."""
        if item == EMPTY:
            return None
        if item not in self._shown:
            catalog, mean = self.dataset.catalog, self._means[item]
            self._shown[item] = Shown(
                catalog.title(item),
                catalog.categories[item],
                (catalog.descriptions[item] or "")[:MOST_TEXT],
                f"{mean:.1f}" if "rating" in self.show and np.isfinite(mean) else "",
                f"{self.dataset.popularity[item]:,}" if "popularity" in self.show else "",
            )
        return self._shown[item]

    def ratings(self, stars: FloatArray) -> FloatArray:
        """Return what stars from 1 to 5 are on the data's own scale; nothing where the data have no ratings."""
        if self._scale is None:
            return np.full_like(stars, np.nan)
        low, high = self._scale
        return stars if (low, high) == (1.0, 5.0) else low + (stars - 1) / 4 * (high - low)

    def enter(self, users: IntArray, luck: BitArray) -> "Conversations":
        """Seat these users in this order."""
        return Conversations(self, users, luck)


class Conversations:
    """The agents who entered together."""

    def __init__(self, population: LLMPopulation, users: IntArray, luck: BitArray) -> None:
        self.population = population
        self.crowd: Crowd[int, Deed] = Crowd()  # by seat
        self._begun: dict[int, tuple[Page, int]] = {}  # by seat, the page and its row there
        self.agents: dict[int, Agent] = {}
        self.reseat(np.arange(len(users)), users, luck)

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Let these users begin a session in seats that others have left."""
        population = self.population
        for seat, user, bits in zip(seats.tolist(), users.tolist(), luck, strict=True):
            memory = Memory(population.rules, population.meanings)
            self.agents[seat] = Agent(population.persona(user), memory, bits, population.tally, population.conduct)

    def begin(self, page: Page) -> None:
        """Let the users in these seats look at the page, each on his own."""
        population, rows = self.population, page.items.tolist()
        deeds = []
        for row, seat in enumerate(page.seats.tolist()):
            self._begun[seat] = page, row
            shown = [population.shown(item) for item in rows[row]]
            deeds.append((seat, self.agents[seat].look(population.model, shown)))
        self.crowd.start(deeds)

    def collect(self) -> tuple[Page, Reaction]:
        """Return what those did who are done, at least one."""
        ended = self.crowd.ended()
        begun = [self._begun.pop(seat) for seat, _ in ended]
        page = _rows(begun)
        return page, _reaction([deed for _, deed in ended], page, self.population)

    def react(self, page: Page) -> Reaction:
        """Return what the users in these seats do with the page: all are asked at once."""
        if not len(page.seats):
            return _reaction([], page, self.population)
        self.begin(page)
        deeds: dict[int, Deed] = {}
        while len(deeds) < len(page.seats):
            deeds |= self.crowd.ended()
        self._begun.clear()
        return _reaction([deeds[seat] for seat in page.seats.tolist()], page, self.population)


def _rows(begun: Sequence[tuple[Page, int]]) -> Page:
    """Return the page that some rows of pages make."""
    chances = [None if page.propensities is None else page.propensities[row] for page, row in begun]
    known = [one for one in chances if one is not None]
    return Page(
        np.array([page.users[row] for page, row in begun]),
        np.array([page.seats[row] for page, row in begun]),
        np.array([page.number[row] for page, row in begun]),
        np.array([page.items[row] for page, row in begun]),
        np.array(known) if len(known) == len(begun) else None,
    )


def _reaction(deeds: Sequence[Deed], page: Page, population: LLMPopulation) -> Reaction:
    shape = page.items.shape
    causes: Any = np.array([deed.cause for deed in deeds], dtype=object)
    return Reaction(
        np.array([deed.grades for deed in deeds], dtype=np.int8).reshape(shape),
        population.ratings(np.array([deed.ratings for deed in deeds], dtype=np.float64).reshape(shape)),
        np.array([deed.satisfaction for deed in deeds], dtype=np.float64),
        np.array([deed.leaves for deed in deeds], dtype=bool),
        causes,
        words=[deed.words or None for deed in deeds],
        readings=np.array([deed.reading for deed in deeds], dtype=object),
        remembered=[deed.remembered for deed in deeds],
        verdicts=np.array([deed.verdict for deed in deeds], dtype=np.float64),
    )
