"""What a model writes once: personas from a user's past, items' texts, and what items make of those who took them."""

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from simenv.agents.llm import LLMPopulation
from simenv.agents.persona import persona_of
from simenv.chat.model import Answer, Question
from simenv.chat.scripted import Scripted
from simenv.errors import SimenvError
from simenv.loop import PageLoop
from simenv.play import play
from simenv.recommenders.pop import Pop
from simenv.splits import Split


class Heard(Scripted):
    """Notes what it is asked, and answers some kinds with what it is told to."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self.answers = answers
        self.questions: list[Question] = []

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        told = self.answers.get(question.kind.replace(" ", "_"))
        return await super().ask(question) if told is None else Answer(json.dumps(told))

    def of_kind(self, kind: str) -> list[str]:
        return [question.messages[0].text for question in self.questions if question.kind == kind]


def fitted(split: Split, model: Scripted, **options: Any) -> LLMPopulation:
    population = LLMPopulation(model=model, most_failed=1.0, **options)
    population.fit(split.train)
    return population


def played(split: Split, population: LLMPopulation, users: int = 20) -> list:
    policy = Pop()
    policy.fit(split.train)
    loop = PageLoop(split.train, population, page_size=4, max_pages=3)
    return [turn for _, some in play(loop, policy, np.arange(users), 0, batch_size=users) for turn in some]


def test_a_persona_is_written_once_from_training_rows_alone(split: Split):
    model = Heard()
    population = fitted(split, model, personas="written")
    told = population.introduce([3, 5, 3])
    assert [one["by"] for one in told] == ["the model"] * 3
    assert told[0] == told[2]
    assert len(model.of_kind("persona")) == 2
    population.introduce([5, 3])
    assert len(model.of_kind("persona")) == 2

    log = split.train.interactions
    past = {split.train.catalog.title(item) for item in log.items[log.users == 3].tolist()}
    asked = model.of_kind("persona")[0]
    assert past
    assert all(title in asked for title in past)
    held_out = {split.train.catalog.title(item) for item in split.test.items[split.test.users == 3].tolist()} - past
    assert not any(f"- {title} [" in asked for title in held_out)


def test_what_was_written_is_what_the_agent_is_told_of_himself(split: Split):
    portrait = {"tastes": ["slow films", "", "long walks"], "dislikes": ["noise"] * 5, "habit": "a generous rater"}
    model = Heard(persona=portrait)
    population = fitted(split, model, personas="written")
    played(split, population, users=4)
    pages = [question.messages[0].text for question in model.questions if question.kind == "page"]
    assert all(
        "- slow films\n- long walks\n" in text and "As a rater you are a generous rater." in text for text in pages
    )
    persona = population.persona(2)
    assert persona.dislikes == ("noise", "noise")
    assert persona.usual  # what is counted stays counted
    assert persona_of(population.persona_told(2)) == persona


@pytest.mark.parametrize("wrong", [{"tastes": [], "dislikes": [], "habit": ""}, {"tastes": "all"}, "nothing"])
def test_a_portrait_that_cannot_be_read_leaves_the_composed_one_and_is_counted(split: Split, wrong: Any):
    population = fitted(split, Heard(persona=wrong), personas="written")
    plain = fitted(split, Heard())
    population.introduce([1])
    assert population.persona(1) == plain.persona(1)
    assert population.tally.counts["persona", "failed"] == 1


def test_an_item_is_described_once_before_anybody_sees_it(split: Split):
    model = Heard(item_text={"text": "A fine thing for evenings."})
    population = fitted(split, model, item_texts="written")
    turns = played(split, population)
    shown = set(np.concatenate([turn.page.items.reshape(-1) for turn in turns]).tolist()) - {-1}
    assert len(model.of_kind("item text")) == len(shown)
    pages = [question.messages[-1].text for question in model.questions if question.kind == "page"]
    assert all(text.count("A fine thing for evenings.") == 4 for text in pages)
    assert {row["item_id"] for row in population.shelf.told()} == {split.train.catalog.ids[item] for item in shown}


def test_a_text_that_denies_what_an_item_is_is_not_taken(split: Split):
    item = next(i for i, names in enumerate(split.train.catalog.categories) if names)
    name = split.train.catalog.categories[item][0]
    model = Heard(item_text={"text": f"This is not {name} at all."})
    population = fitted(split, model, item_texts="written")
    before = population.shelf.memory(item).text
    asyncio.run(population.shelf.describe([item, item]))
    assert population.shelf.memory(item).text == before
    assert population.tally.counts["item text", "failed"] == 1
    assert name in model.questions[1].messages[-1].text  # it is told why


def test_users_think_once_more_before_they_are_asked_for_their_verdict(split: Split):
    model = Heard()
    population = fitted(split, model, afterwards=["users"], memory={"reflect_after": float("inf")})
    played(split, population)
    kinds = [question.kind for question in model.questions]
    assert kinds.count("reflection") == kinds.count("interview") > 5
    told = [question.messages[-1].text for question in model.questions if question.kind == "interview"]
    assert all("What you have come to think" in text for text in told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"personas": "invented"}, "no personas 'invented'; there are composed, written"),
        ({"afterwards": ["nobody"]}, "afterwards names 'nobody'; there are users, items"),
        ({"calls": 3}, "calls is 3; a page takes 1, or 2"),
    ],
)
def test_what_cannot_be_is_told(options: dict, told: str):
    with pytest.raises(SimenvError, match=told):
        LLMPopulation(**options)


def test_texts_of_a_run_that_has_none_are_missed(split: Split, tmp_path: Any):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(SimenvError, match="no texts of items here"):
        fitted(split, Heard(), item_texts=str(tmp_path))
