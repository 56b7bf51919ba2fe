"""Users who are language-model agents: a persona from training rows, memory, reflection, and words of their own."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from simenv.arrays import BitArray, IntArray
from simenv.chat.crowd import Crowd, the_loop
from simenv.chat.model import ChatModel
from simenv.chat.opening import Answers, open_model
from simenv.chat.scripted import is_stand_in
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.options import check_choice, check_number, check_whole, complaint
from simenv.pages import Page, Reaction
from simenv.population import AnsweredBy
from simenv.traits import Traits, traits_of

from .afterwards import think_over
from .agent import Agent, Anchor, Conduct, Deed, answer_by_hand
from .encoders import open_encoder
from .meaning import Meanings, WordWeights
from .memory import Memory, Remembering
from .persona import VERSION, Persona, compose, persona_of
from .prompts import version
from .session_lengths import usual_pages as usual_pages_of
from .shelf import Shelf, texts_of_run
from .stars import stars_of
from .tally import Tally
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
        usual_pages: float | None = None,
        memory: Mapping[str, float] | None = None,
        calls: int = 1,
        personas: Literal["composed", "written"] = "composed",
        item_texts: str | Mapping[str, Any] = "described",
        afterwards: Sequence[str] = (),
        encoder: str | Mapping[str, Any] = "words",
        most_failed: float = 0.05,
        answers: Answers | None = None,
    ) -> None:
        _check_names("show", show, SHOWS)
        _check_names("afterwards", afterwards, ("users", "items"))
        check_whole(calls=calls)
        if calls > 2:
            raise SimenvError(f"calls is {calls}; a page takes 1, or 2 where it is judged apart from its items")
        check_choice(("composed", "written"), personas=personas)
        check_number(least=0, most=1, anchor=anchor, most_failed=most_failed)
        if not isinstance(item_texts, str | Mapping) or not item_texts:
            raise SimenvError(f"item_texts is {item_texts!r}; it is described, written, or a run to take them from")
        try:
            self.rules = Remembering(**(memory or {}))  # type: ignore[arg-type]
        except TypeError as error:
            raise SimenvError(f"memory: {complaint(error)}") from error
        self.model = open_model(model, answers)
        self.most_failed = most_failed
        self.show = tuple(show)
        self.personas, self.item_texts, self.afterwards = personas, item_texts, tuple(afterwards)
        told = Anchor(anchor) if usual_pages is None else Anchor(anchor, usual_pages)
        self.conduct = Conduct(told, calls, "users" in afterwards)
        self.usual_pages = usual_pages
        self.tally = Tally(most_failed)
        self.encoder = open_encoder(encoder, self.tally, answers)
        self._personas: dict[int, Persona] = {}
        self._read: dict[int, str] = {}  # how the model's word on a user was read, where it was asked

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
        self.stars = stars_of(dataset)
        self._usual = usual_pages_of(dataset) if self.usual_pages is None else None
        self._personas, self._read = {}, {}

    @property
    def answered_by(self) -> AnsweredBy:
        """What their reactions come from: a model, or its stand-in."""
        return AnsweredBy(a_model=True, scripted="all" if is_stand_in(self.model) else "none")

    def facts(self) -> dict[str, Any]:
        """Return the model and the prompts that its reactions follow from."""
        settings = dict(self.model.settings)
        scripted = is_stand_in(self.model)
        about = "a scripted stand-in, no language model" if scripted else f"asked of {settings.get('model')}"
        encoder = {"kind": "words"} if self.encoder is None else dict(self.encoder.settings)
        told = {"about": about, "model": settings, "encoder": encoder}
        return told | {"prompts": version(), "most_failed": self.most_failed}

    @property
    def ways(self) -> list[str]:
        """How the model was asked for the form of its answers, as a probe found; none before, or where nobody is."""
        model: Any = self.model
        while not hasattr(model, "decides") and not isinstance(getattr(model, "model", ""), str):
            model = model.model
        found = ["decisions"] if getattr(model, "decides", None) else []
        return found if getattr(model, "way", None) is None else [*found, str(model.way)]

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

    def conduct_of(self, user: int) -> Conduct:
        """Return how a user goes about a session: as long as their own history has it, unless a length was told."""
        if self._usual is None:
            return self.conduct
        return replace(self.conduct, anchor=Anchor(self.conduct.anchor.weight, float(self._usual[user])))

    def introduce(self, users: Sequence[int], known: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """Make these users' personas, where need be by the model; return them as JSON holds them.

        Those of an earlier process, as JSON held them, are `known`: who they are is not asked again.
        """
        self._recognise(known)
        if self.personas == "written":
            new = [user for user in dict.fromkeys(users) if user not in self._personas]
            found = Crowd[int, tuple[Persona, str]]().all(
                (user, self.writer.persona(user, persona))
                for user, persona in zip(new, compose(self.dataset, new, self.traits), strict=True)
            )
            for user, (persona, how) in found.items():
                self._personas[user], self._read[user] = persona, how
        return [self.persona_told(user) for user in users]

    def _recognise(self, known: Sequence[Mapping[str, Any]]) -> None:
        ids = {str(user_id): user for user_id, user in self._index.items()} if known else {}
        for told in known:
            try:
                if told.get("version") == VERSION and told["user"] in ids:
                    user = ids[told["user"]]
                    self._personas[user], self._read[user] = persona_of(told), str(told.get("read", ""))
            except (AttributeError, KeyError, TypeError):
                raise SimenvError("a line of personas.jsonl tells of no persona; the file is damaged") from None

    def think_over(self, events: pa.Table) -> list[dict[str, Any]]:
        """Return what is said of items after these sessions, once those that were taken have thought them over."""
        if "items" not in self.afterwards:
            self.shelf.recollect(events)
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
        read = {"read": self._read[user]} if self._read.get(user) else {}
        return persona.plain() | {"mark": persona.mark, "version": VERSION} | read

    def answer(self, user: int, remembered: Sequence[str], question: str) -> str:
        """Return what a user says to a question after a session: `remembered` is what the log holds of its pages."""
        memory = Memory(self.rules, self.meanings)
        for page in remembered:
            memory.relive(page)
        asked = self.model.ask(answer_by_hand(self.persona(user), memory, question))
        return asyncio.run_coroutine_threadsafe(asked, the_loop()).result().text

    def enter(self, users: IntArray, luck: BitArray) -> "Conversations":
        """Seat these users in this order."""
        if not hasattr(self, "dataset"):
            raise SimenvError("nobody can enter before fit(dataset) has told who the users are")
        return Conversations(self, users, luck)


def _check_names(option: str, told: object, known: Sequence[str]) -> None:
    """Refuse an option that is no list of these names."""
    if isinstance(told, str) or not isinstance(told, Sequence):
        raise SimenvError(f"{option} is {told!r}; it is a list, of {', '.join(known)} or of none")
    wrong = [name for name in told if name not in known]
    if wrong:
        raise SimenvError(f"{option} names {wrong[0]!r}; there are {', '.join(known)}")


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
            conduct = population.conduct_of(user)
            self.agents[seat] = Agent(population.persona(user), memory, bits, population.tally, conduct)

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
        population.stars.back(np.array([deed.ratings for deed in deeds], dtype=np.float64).reshape(shape)),
        np.array([deed.satisfaction for deed in deeds], dtype=np.float64),
        np.array([deed.leaves for deed in deeds], dtype=bool),
        causes,
        words=[deed.words or None for deed in deeds],
        readings=np.array([deed.reading for deed in deeds], dtype=object),
        remembered=[deed.remembered for deed in deeds],
        verdicts=np.array([deed.verdict for deed in deeds], dtype=np.float64),
        asked=[deed.asked for deed in deeds],
    )
