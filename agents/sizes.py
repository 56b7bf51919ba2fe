"""How much agents will ask of their model, before anybody is asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simenv.chance import stream
from simenv.chat.decisions import parts
from simenv.dataset import Dataset

from .afterwards import MOST_MET
from .agent import Agent
from .answers import letters
from .decisions import page_decisions
from .keywords import question_of
from .llm import LLMPopulation
from .memory import Memory, told

BYTES_A_TOKEN = 4  # about, in English
ANSWERED = 80  # bytes of an answer for each item, and beside them
WRITTEN = 400  # bytes of a persona or an item's text
MET = 120  # bytes of a line on who met an item
SAMPLED = 50  # users and items whose prompts are measured
REPAIRED = 2  # calls for an answer, with the one that repairs it
NEWS = 1.6  # importance that gathers on a page, at the most: of a fact and of a feeling


@dataclass(frozen=True, slots=True)
class Size:
    """Calls, and about how many tokens in and out; shares of one where it is a mean."""

    calls: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.calls + other.calls, self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)

    def __mul__(self, times: float) -> "Size":
        return Size(self.calls * times, self.tokens_in * times, self.tokens_out * times)


def size_of_run(
    population: LLMPopulation, users: Sequence[int], *, encounters: int, page_size: int, pages: int
) -> Size:
    """Return about what a run takes in which every user stays for every page, and every answer is read as it comes.

    `encounters` are the policies times the seeds: how often each user comes.
    """
    some = stream(0, "estimate").choice(users, size=min(SAMPLED, len(users)), replace=False).tolist()
    total = _mean([_session(population, user, page_size, pages) for user in some]) * (len(users) * encounters)
    if population.personas == "written":
        portraits = [_question(population.writer.portrait(user)) for user in some]
        total += _mean(portraits) * len(users)
    shown = min(len(population.dataset.catalog), len(users) * page_size * pages)
    if population.item_texts == "written":
        total += _mean(_item_texts(population)) * min(len(population.dataset.catalog), shown * encounters)
    if "items" in population.afterwards:
        total += (_mean(_item_texts(population)) + Size(0, MOST_MET * MET / BYTES_A_TOKEN)) * (shown * encounters)
    return total


def size_of_encoder(population: LLMPopulation, users: int, *, page_size: int, pages: int) -> Size:
    """Return about what the names of items take that memories are found by, where the encoder is asked for them."""
    catalog = population.dataset.catalog
    shown = min(len(catalog), users * page_size * pages)
    some = stream(0, "estimate names").choice(len(catalog), size=min(SAMPLED, len(catalog)), replace=False).tolist()
    named = [one.named for one in map(population.shelf.shown, some) if one is not None]
    return Size(1, sum(map(len, named)) / len(named) / BYTES_A_TOKEN) * shown


def most_calls(population: LLMPopulation, users: int, *, encounters: int, page_size: int, pages: int) -> int:
    """Return how many answers of its model a run takes at the most, though each answer has to be repaired."""
    count, per_page = len(population.dataset.catalog), population.conduct.calls
    page = max(REPAIRED, len(parts(page_decisions(page_size, np.uint64(0), 0).decisions)))  # decisions need no repair
    if per_page > 1:
        page = per_page * REPAIRED
    after = _most_reflections(population, pages) + 1 + population.conduct.reflects
    total = users * encounters * (pages * page + REPAIRED * after)
    if population.personas == "written":
        total += REPAIRED * users
    if population.item_texts == "written":
        total += REPAIRED * min(count, users * page_size * pages * encounters)
    if "items" in population.afterwards:
        total += REPAIRED * min(count, users * page_size * pages) * encounters
    return total


def most_encoder_calls(population: LLMPopulation, users: int, *, encounters: int, page_size: int, pages: int) -> int:
    """Return how many texts the encoder is asked for at the most: names of items, and records about none."""
    shown = min(len(population.dataset.catalog), users * page_size * pages * encounters)
    return 1 + shown + users * encounters * (2 * pages + _most_reflections(population, pages) + 1)


def _most_reflections(population: LLMPopulation, pages: int) -> int:
    """Return how often an agent thinks over what has gathered before its last page, at the most."""
    after = population.rules.reflect_after
    return 0 if math.isinf(after) else (pages - 1) // max(math.ceil(after / NEWS - 1e-9), 1)


def size_of_keywords(dataset: Dataset) -> Size:
    """Return what it takes to have every item's keywords named."""
    count = len(dataset.catalog)
    some = stream(0, "estimate keywords").choice(count, size=min(SAMPLED, count), replace=False).tolist()
    return _mean([_question(question_of(dataset, item).messages[-1].text) for item in some]) * count


def _session(population: LLMPopulation, user: int, page_size: int, pages: int) -> Size:
    """Return the size of a session that goes on to its last page."""
    rng = stream(0, "session size", user)
    rules, conduct = population.rules, population.conduct
    memory = Memory(rules, population.meanings)
    agent = Agent(population.persona(user), memory, np.uint64(0), population.tally, conduct)
    calls = heard = said = 0
    for number in range(pages):
        agent.page = number + 1
        items = rng.integers(len(population.dataset.catalog), size=page_size).tolist()
        shown = [one for one in map(population.shelf.shown, items) if one is not None]
        recalled = memory.strongest(rules.recall)
        asked = [agent.page_text(dict(zip(letters(page_size), shown, strict=False)), recalled)]
        memory.write(number, "fact", "took " + "; ".join(f"{one.named}, rated 4 of 5" for one in shown), 0.8)
        memory.write(number, "feeling", "was satisfied with the page, for there was something for me", 0.5)
        if memory.is_full_of_news:
            memory.write(number, "belief", "I have had enough of what I have seen most of, for now.", 0.9)
            asked.append(told(memory.strongest(2 * rules.recall)))
        if conduct.calls == 2:
            asked.append(asked[0])  # about as long
        if number == pages - 1:
            asked += [told(memory.records)] * (2 if conduct.reflects else 1)
        calls += len(asked)
        heard += sum(len(agent.system.text) + len(text) for text in asked)
        said += page_size * ANSWERED + ANSWERED * len(asked)
    return Size(calls, heard / BYTES_A_TOKEN, said / BYTES_A_TOKEN)


def _item_texts(population: LLMPopulation) -> list[Size]:
    count = len(population.dataset.catalog)
    some = stream(0, "estimate items").choice(count, size=min(SAMPLED, count), replace=False).tolist()
    return [_question(population.writer.blurb(item, population.shelf.memory(item))) for item in some]


def _question(text: str) -> Size:
    return Size(bool(text), len(text) / BYTES_A_TOKEN, WRITTEN / BYTES_A_TOKEN if text else 0)


def _mean(sizes: Sequence[Size]) -> Size:
    return sum(sizes, Size()) * (1 / len(sizes))
