"""Agents of a model that gives probabilities: their own luck draws what they do, as often as it says."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simenv.agents.agent import Agent, Deed, Shown
from simenv.agents.decisions import ACTS, LEVELS, THENS, drawn, interview_decisions, page_decisions
from simenv.agents.llm import LLMPopulation
from simenv.chat.model import Answer, Question
from simenv.chat.scripted import Scripted
from simenv.loop import luck_of
from simenv.pages import Grade
from simenv.splits import Split

PAGE = [Shown(f"{kind} number {place}", (kind,), "", "", "") for place in range(2) for kind in ("Comedy", "War")]
STAY = [1.0, 0.0, 0.0, 0.0, 0.0]
Make = Callable[..., Agent]
Said = Callable[[str, tuple[str, ...], str], list[float] | str]


class Deciding(Scripted):
    """Gives probabilities by a rule where there is something to decide, and is the stand-in otherwise."""

    def __init__(self, say: Said) -> None:
        super().__init__()
        self.say = say
        self.asked: list[Question] = []

    async def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        if not question.decisions:
            return await super().ask(question)
        text = question.messages[-1].text
        found = {one.name: self.say(one.name, one.outcomes, text) for one in question.decisions}
        return Answer(json.dumps({"decisions": found}, separators=(",", ":")), 90, 2)


@pytest.fixture
def agent(split: Split) -> Make:
    """Return a maker of agents, one for each seed."""

    def make(seed: int = 0, **rules: float) -> Agent:
        population = LLMPopulation(memory=rules, most_failed=1.0)
        population.fit(split.train)
        return population.enter(np.array([7]), luck_of(seed, np.array([7]))).agents[0]

    return make


def look(who: Agent, say: Said, *pages: list[Shown | None]) -> list[Deed]:
    return [asyncio.run(who.look(Deciding(say), page)) for page in pages or [PAGE]]


def item_of(name: str, text: str) -> str:
    """Return what stands on the page after the letter that a decision is about."""
    found = re.search(rf"^{name.partition('_')[2]}\. (.+)$", text, re.MULTILINE)
    assert found is not None
    return found[1]


def sure(name: str, outcomes: tuple[str, ...], text: str) -> list[float]:
    """Take comedies and rate them by their number; pass over the rest, be content and stay."""
    wanted = {"satisfaction": "8", "then": "stay"}.get(name)
    if wanted is None and name.startswith("act"):
        wanted = "take" if "Comedy" in item_of(name, text) else "pass"
    elif wanted is None:
        wanted = "5" if "number 0" in item_of(name, text) else "2"
    return [float(outcome == wanted) for outcome in outcomes]


def test_what_is_certain_is_done_with_the_right_items(agent: Make):
    for seed in range(20):
        for page in (PAGE, PAGE[::-1], [None, *PAGE]):
            (deed,) = look(agent(seed), sure, page)
            did = {item.title: (deed.grades[place], deed.ratings[place]) for place, item in enumerate(page) if item}
            assert did["Comedy number 0"] == (Grade.LIKED, 5)
            assert did["Comedy number 1"] == (Grade.DISLIKED, 2)
            assert did["War number 0"] == did["War number 1"] == (Grade.PASSED, pytest.approx(np.nan, nan_ok=True))
            assert (deed.satisfaction, deed.leaves, deed.words, deed.reading) == (8, False, "", "decided")


def test_outcomes_come_as_often_as_their_probabilities_say():
    acts, stars, ends = [0.5, 0.3, 0.2], [0.05, 0.1, 0.2, 0.4, 0.25], [0.6, 0.1, 0.1, 0.15, 0.05]
    levels = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.2, 0.1, 0.02, 0.0]
    typed = page_decisions(3, np.uint64(0), 0)
    chances = [tuple({"act": acts, "rat": stars, "the": ends, "sat": levels}[one.name[:3]]) for one in typed.decisions]
    answers = [page_decisions(3, luck, page).settle(chances) for luck in luck_of(1, np.arange(2000)) for page in (1, 2)]
    made = [answer for answer in answers if answer is not None]
    assert len(made) == 4000

    def near(found: list[Any], wanted: dict[Any, float]) -> None:
        counts = Counter(found)
        assert set(counts) <= {outcome for outcome, chance in wanted.items() if chance}
        for outcome, chance in wanted.items():
            spread = (chance * (1 - chance) / len(found)) ** 0.5
            assert abs(counts[outcome] / len(found) - chance) <= 4 * spread, (outcome, counts)

    near([answer.satisfaction for answer in made], dict(zip(map(int, LEVELS), levels, strict=True)))
    near([answer.then for answer in made], dict(zip(THENS, ends, strict=True)))
    for place in range(3):
        mine = [answer.items[place] for answer in made]
        near([item.act for item in mine], dict(zip(ACTS, acts, strict=True)))
        near([item.rating for item in mine if item.act == "take"], dict(zip(range(1, 6), stars, strict=True)))
        assert not any(item.rating for item in mine if item.act != "take")
    pairs = Counter((answer.items[0].act, answer.items[1].act) for answer in made)
    assert pairs["take", "take"] / 4000 == pytest.approx(0.04, abs=0.013)  # each by itself
    both = Counter((one.then == "stay", other.then == "stay") for one, other in zip(made[::2], made[1::2], strict=True))
    assert both[True, True] / 2000 == pytest.approx(0.36, abs=0.045)  # page after page too


def test_an_outcome_without_a_chance_is_never_drawn():
    for luck in luck_of(2, np.arange(500)):
        some = drawn([(0.0, 1e-6, 0.0), (0.0, 0.5, 0.495, 0.0), (0.99, 0.0), (0.0, 1.01)], luck)
        assert (some[0], some[2], some[3]) == (1, 0, 1)
        assert some[1] in (1, 2)
    assert drawn([None, (1.0, 0.0)], np.uint64(0)) == [None, 0]


def test_luck_is_the_decisions_own_whatever_else_stands_on_the_page():
    even = [(0.5, 0.5)] * 50
    for luck in luck_of(3, np.arange(20)):
        assert drawn(even[:7], luck) == drawn(even, luck)[:7]
        assert drawn([None, *even[1:]], luck)[1:] == drawn(even, luck)[1:]


def test_a_refused_item_is_not_looked_at_and_never_liked(agent: Make):
    def coy(name: str, outcomes: tuple[str, ...], text: str) -> list[float] | str:
        return (
            "refused"
            if name.startswith("act") and "Comedy number 0" in item_of(name, text)
            else sure(name, outcomes, text)
        )

    who = agent()
    (deed,) = look(who, coy)
    assert list(deed.grades) == [Grade.UNSEEN, Grade.PASSED, Grade.DISLIKED, Grade.PASSED]
    assert deed.reading == "partly"
    assert (who.tally.counts, who.tally.lost, who.tally.failed) == ({("page", "partly"): 1}, {"page": 1}, 0)


@pytest.mark.parametrize("name", ["rating", "satisfaction", "then"])
def test_what_else_is_refused_falls_back_and_is_counted(agent: Make, name: str):
    (deed,) = look(agent(), lambda one, *more: "refused" if one.startswith(name) else sure(one, *more))
    assert deed.reading == "partly"
    assert not deed.leaves
    assert deed.satisfaction == (5 if name == "satisfaction" else 8)
    if name == "rating":
        assert list(deed.grades) == [Grade.VIEWED, Grade.PASSED, Grade.VIEWED, Grade.PASSED]
        assert np.isnan(deed.ratings).all()


@pytest.mark.parametrize("refused", ["act", ""])
def test_a_page_of_which_most_is_refused_has_no_answer(agent: Make, refused: str):
    who = agent()
    (deed,) = look(who, lambda one, *more: "refused" if one.startswith(refused) else sure(one, *more))
    assert (deed.reading, deed.leaves, deed.satisfaction) == ("failed", False, 5)
    assert list(deed.grades) == [Grade.UNSEEN] * 4
    assert who.tally.failed == 1


def test_who_leaves_says_how_satisfied_he_is_by_a_decision_and_nothing_in_words(agent: Make):
    def goes(name: str, outcomes: tuple[str, ...], text: str) -> list[float]:
        if name == "then":
            return [float(outcome == "bored") for outcome in outcomes]
        if "You have left" in text:
            return [float(outcome == "3") for outcome in outcomes]
        return sure(name, outcomes, text)

    who = agent()
    (deed,) = look(who, goes)
    assert (deed.leaves, deed.cause, deed.verdict, deed.words) == (True, "bored", 3, "")
    assert who.tally.counts == {("page", "decided"): 1, ("interview", "decided"): 1}
    assert interview_decisions(np.uint64(1)).settle([None]) is None


def test_beliefs_are_still_asked_for_in_words(agent: Make):
    who, model = agent(reflect_after=0.1), Deciding(sure)
    asyncio.run(who.look(model, PAGE))
    assert [(question.kind, bool(question.decisions)) for question in model.asked] == [
        ("page", True),
        ("reflection", False),
    ]
    assert who.tally.counts == {("page", "decided"): 1, ("reflection", "plain"): 1}
    feeling = next(record.text for record in who.memory.records if record.kind == "feeling")
    assert feeling == "was satisfied with the page"


def test_a_model_without_decisions_answers_in_words_as_ever(agent: Make):
    who = agent()
    deed = asyncio.run(who.look(Scripted(), PAGE))
    assert deed.reading == "plain"
    assert deed.words


def test_decisions_are_made_once_for_a_size_of_page():
    one, other = page_decisions(20, np.uint64(1), 1), page_decisions(20, np.uint64(2), 9)
    assert one.decisions is other.decisions
    assert len(one.decisions) == 42
    assert len({decision.name for decision in one.decisions}) == 42
    assert all(decision.text.endswith("?") and "{" not in decision.text for decision in one.decisions)
    assert page_decisions(3, np.uint64(0), 1).decisions == one.decisions[:8]
