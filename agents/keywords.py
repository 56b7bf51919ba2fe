"""What an item is about, in a few keywords that a model names once; nobody is asked when users browse."""

import asyncio
from collections import Counter

import numpy as np
from scipy import sparse

from simenv.chat.asking import ask, schema_of
from simenv.chat.crowd import Crowd, the_loop
from simenv.chat.model import ChatModel, Message, Question
from simenv.dataset import Dataset

from .answers import Keywords
from .items import item_memory, year_of
from .prompts import prompt
from .tally import Tally

MOST = 8  # keywords of an item
LONGEST = 40  # letters of one


def keywords_of(dataset: Dataset, model: ChatModel, most_failed: float) -> list[list[str]]:
    """Return the keywords that a model names for each item, all items asked at once; none where it could not be read.

    More answers that cannot be read than may be stop it.
    """
    tally = Tally(most_failed)
    try:
        found = Crowd[int, list[str]]().all(
            (item, _named(question_of(dataset, item), model, tally)) for item in range(len(dataset.catalog))
        )
    finally:
        asyncio.run_coroutine_threadsafe(model.close(), the_loop()).result()
    tally.check()
    return [found[item] for item in range(len(dataset.catalog))]


def question_of(dataset: Dataset, item: int) -> Question:
    """Return what a model is asked of an item."""
    catalog = dataset.catalog
    text = prompt("keywords").render(item=item_memory(catalog, item), year=year_of(catalog, item))
    return Question("keywords", (Message("user", text),), schema_of(Keywords))


async def _named(question: Question, model: ChatModel, tally: Tally) -> list[str]:
    outcome = await ask(model, question, Keywords, _nothing)
    tally.note("keywords", outcome)
    if outcome.value is None:
        return []
    told = (" ".join(word.lower().split())[:LONGEST] for word in outcome.value.keywords)
    return list(dict.fromkeys(filter(None, told)))[:MOST]


def _nothing(told: Keywords) -> str | None:
    return None if any(map(str.strip, told.keywords)) else "keywords is empty; name at least one"


def counted(keywords: list[list[str]]) -> sparse.csr_array:
    """Return which items bear which keywords [I, W]."""
    names = {word: place for place, word in enumerate(sorted(Counter(word for some in keywords for word in some)))}
    rows = [row for row, some in enumerate(keywords) for _ in some]
    columns = [names[word] for some in keywords for word in some]
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(keywords), len(names)))
