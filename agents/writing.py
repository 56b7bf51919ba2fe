"""What a model writes once and everybody reads after: who a user is, and what is said of an item."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simenv.chat.asking import ask, schema_of
from simenv.chat.model import ChatModel, Message, Question
from simenv.dataset import Dataset

from .answers import Blurb, Portrait
from .items import ItemMemory, contradiction, item_name, year_of
from .persona import MOST_DISLIKES, MOST_TASTES, Persona
from .prompts import prompt
from .stars import stars_of
from .tally import Tally

MOST_HISTORY = 50  # of a user's rows, the latest, that a persona is written from


class Writer:
    """Asks a model for personas and for items' texts; what it cannot read leaves them as they were."""

    def __init__(self, model: ChatModel, dataset: Dataset, tally: Tally) -> None:
        self.model, self.dataset, self.tally = model, dataset, tally
        self.stars = stars_of(dataset)

    async def persona(self, user: int, composed: Persona) -> tuple[Persona, str]:
        """Return a user's persona, with tastes and habit in the model's words, and how these were read."""
        text = self.portrait(user)
        if not text:
            return composed, ""
        question = Question("persona", (Message("user", text),), schema_of(Portrait))
        outcome = await ask(self.model, question, Portrait, _unlike_anybody)
        self.tally.note("persona", outcome)
        if outcome.value is None:
            return composed, outcome.how
        told = outcome.value
        written = replace(
            composed,
            tastes=tuple(filter(None, told.tastes))[:MOST_TASTES],
            dislikes=tuple(filter(None, told.dislikes))[:MOST_DISLIKES],
            habit=told.habit or composed.habit,
            by="the model",
        )
        return written, outcome.how

    def portrait(self, user: int) -> str:
        """Return what a model is asked of a user; '' for one without a past."""
        log, catalog, stars = self.dataset.interactions, self.dataset.catalog, self.stars
        first, last = self.dataset.starts[user : user + 2].tolist()
        lines = []
        for row in range(max(first, last - MOST_HISTORY), last):
            item = int(log.items[row])
            rating = "" if np.isnan(log.ratings[row]) else f", rated {stars.of(log.ratings[row]):.2g}"
            lines.append(f"{item_name(catalog.title(item), catalog.categories[item])}{rating}")
        return prompt("portrait").render(history=lines) if lines else ""

    async def item(self, item: int, memory: ItemMemory) -> None:
        """Rewrite an item as the model describes it."""
        await self._rewrite("item text", memory, self.blurb(item, memory))

    def blurb(self, item: int, memory: ItemMemory) -> str:
        """Return what a model is asked of an item."""
        return prompt("blurb").render(item=memory, year=year_of(self.dataset.catalog, item))

    async def afterwards(self, memory: ItemMemory, met: Sequence[str]) -> None:
        """Rewrite an item in the light of those who met it."""
        await self._rewrite("afterwards", memory, prompt("afterwards").render(item=memory, met=met))

    async def _rewrite(self, kind: str, memory: ItemMemory, text: str) -> None:
        def check(blurb: Blurb) -> str | None:
            return contradiction(memory, blurb.text, self.dataset.catalog.category_names)

        question = Question(kind, (Message("user", text),), schema_of(Blurb))
        outcome = await ask(self.model, question, Blurb, check)
        self.tally.note(kind, outcome)
        memory.read = outcome.how
        if outcome.value is not None and outcome.value.text.strip():
            memory.rewrite(outcome.value.text)


def _unlike_anybody(told: Portrait) -> str | None:
    return None if any(told.tastes) else "tastes is empty; say at least one thing that the person likes"
