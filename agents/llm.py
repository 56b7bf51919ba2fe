"""Users who are language-model agents: a persona from training rows, memory, reflection, and words of their own."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.chat.crowd import Crowd, the_loop
from simenv.chat.model import ChatModel
from simenv.chat.opening import Answers, open_model
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.pages import Page, Reaction

from .afterwards import think_over
from .agent import Agent, Anchor, Conduct, Deed, answer_by_hand
from .encoders import open_encoder
from .meaning import Meanings, WordWeights
from .memory import Memory, Remembering
from .persona import VERSION, Persona, compose
from .prompts import version
from .shelf import Shelf, texts_of_run
from .tally import Tally
from .traits import Traits, traits_of
from .writing import Writer

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
        personas: Literal["composed", "written"] = "composed",
        item_texts: str | Mapping[str, Any] = "described",
        afterwards: Sequence[str] = (),
        encoder: str | Mapping[str, Any] = "words",
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
        if personas not in ("composed", "written"):
            raise SimenvError(
                f"personas are composed of categories and titles, or written by the model, not '{personas}'"
            )
        strange = sorted(set(afterwards) - {"users", "items"})
        if strange:
            raise SimenvError(
                f"afterwards names who thinks over what happened: users, items or both, not '{strange[0]}'"
            )
        self.personas, self.item_texts, self.afterwards = personas, item_texts, tuple(afterwards)
        self.conduct = Conduct(Anchor(anchor, usual_pages), calls, "users" in afterwards)
        self.tally = Tally(most_failed)
        self.encoder = open_encoder(encoder, self.tally, answers)
        self._personas: dict[int, Persona] = {}

    def fit(self, dataset: Dataset) -> None:
        """Learn who the users are, and what stands on a page, from training rows."""
        self.dataset = dataset
        self.traits: Traits = traits_of(dataset)
        self.words = WordWeights(dataset.catalog.text(item) for item in range(len(dataset.catalog)))
        self.meanings = Meanings(self.encoder or self.words)
        self.writer = Writer(self.model, dataset, self.tally)
        written, described = self.item_texts == "written", self.item_texts == "described"
        texts = {} if written or described else texts_of_run(self.item_texts, dataset)
        self.shelf = Shelf(dataset, self.show, self.writer if written else None, texts)
        known = dataset.interactions.ratings[np.isfinite(dataset.interactions.ratings)]
        self._scale = (float(known.min()), float(known.max())) if len(known) else None
        self._personas = {}

    def facts(self) -> dict[str, Any]:
        """Return the model and the prompts that its reactions follow from."""
        settings = dict(self.model.settings)
        scripted = settings.get("kind") == "scripted"
        about = "a scripted stand-in, no language model" if scripted else f"asked of {settings.get('model')}"
        encoder = {"kind": "words"} if self.encoder is None else dict(self.encoder.settings)
        told = {"about": about, "model": settings, "encoder": encoder}
        return told | {"prompts": version(), "most_failed": self.most_failed}

    def close(self) -> None:
        """Let go of the model's connections and its record."""
        for held in (self.model, self.encoder):
            if held is not None:
                asyncio.run_coroutine_threadsafe(held.close(), the_loop()).result()

    def persona(self, user: int) -> Persona:
        """Return a user's persona, composed when it is first needed unless it is known."""
        if user not in self._personas:
            (self._personas[user],) = compose(self.dataset, [user], self.traits)
        return self._personas[user]

    def know(self, user: int, persona: Persona) -> None:
        """Take a persona that was made before."""
        self._personas[user] = persona

    def introduce(self, users: Sequence[int]) -> list[dict[str, Any]]:
        """Make these users' personas, where need be by the model; return them as JSON holds them."""
        if self.personas == "written":
            new = [user for user in dict.fromkeys(users) if user not in self._personas]
            composed = dict(zip(new, compose(self.dataset, new, self.traits), strict=True))
            self._personas |= Crowd[int, Persona]().all(
                (user, self.writer.persona(user, persona)) for user, persona in composed.items()
            )
        return [self.persona_told(user) for user in users]

    def think_over(self, events: pa.Table) -> list[dict[str, Any]]:
        """Return what is said of items after these sessions, once those that were taken have thought them over."""
        if "items" not in self.afterwards:
            return self.shelf.told()
        return think_over(self.shelf, self.writer, self.words, events, self._as_met)

    def _as_met(self, user_id: object) -> str:
        """Return who a user is, as items hear of him."""
        liked = [taste.partition(", such as")[0] for taste in self.persona(self._index[user_id]).tastes[:3]]
        return f"one who likes {'; '.join(liked)}" if liked else "somebody"

    @cached_property
    def _index(self) -> dict[object, int]:
        return {user_id: user for user, user_id in enumerate(self.dataset.users.ids.tolist())}

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
        if population.personas == "written":
            population.introduce(users.tolist())
        for seat, user, bits in zip(seats.tolist(), users.tolist(), luck, strict=True):
            memory = Memory(population.rules, population.meanings)
            self.agents[seat] = Agent(population.persona(user), memory, bits, population.tally, population.conduct)

    def begin(self, page: Page) -> None:
        """Let the users in these seats look at the page, each on his own."""
        rows = page.items.tolist()
        deeds = []
        for row, seat in enumerate(page.seats.tolist()):
            self._begun[seat] = page, row
            deeds.append((seat, self._look(self.agents[seat], rows[row])))
        self.crowd.start(deeds)

    async def _look(self, agent: Agent, items: Sequence[int]) -> Deed:
        shelf = self.population.shelf
        if shelf.writer is not None:
            await shelf.describe(items)
        return await agent.look(self.population.model, [shelf.shown(item) for item in items])

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
        asked=[deed.asked for deed in deeds],
    )
