"""Agents answered by the scripted stand-in: what they are told decides what they do, and nothing else does."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simenv.agents.agent import Agent, Anchor, Conduct, Shown
from simenv.agents.llm import LLMPopulation
from simenv.agents.meaning import Meanings, WordWeights
from simenv.agents.memory import Memory, Remembering
from simenv.agents.persona import Persona, compose, persona_of
from simenv.agents.prompts import prompt, version
from simenv.agents.session_lengths import usual_pages
from simenv.agents.tally import Tally
from simenv.chat.model import Answer, Question
from simenv.chat.scripted import Scripted
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.films import films_world
from simenv.interactions import NO_TIME, Interactions
from simenv.loop import PageLoop, luck_of
from simenv.pages import Grade, Page
from simenv.play import play
from simenv.recommenders.random import Random
from simenv.splits import Split

LOVER = Persona("7", "middle", "low", "low", ("Comedy, such as Paper Moon",), ("War",), "", "", {"Comedy": 1.0}, 20)
COMEDY, WAR, WESTERN = (
    [Shown(f"{kind} number {place}", (kind,), "", "", "") for place in range(8)]
    for kind in ("Comedy", "War", "Western")
)


class Heard(Scripted):
    """Notes the questions that it is asked, and may answer some otherwise."""

    def __init__(self, say: Callable[[Question, dict[str, Any]], Any] = lambda _, answer: answer) -> None:
        super().__init__()
        self.questions: list[Question] = []
        self.say = say

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        return await super().ask(question)

    def answer(self, question: Question) -> dict[str, Any]:
        found: dict[str, Any] = self.say(question, super().answer(question))
        return found

    def pages(self) -> list[str]:
        return [question.messages[-1].text for question in self.questions if question.kind == "page"]


def agent(persona: Persona = LOVER, seed: int = 0, **rules: Any) -> Agent:
    meanings = Meanings(WordWeights(item.named for item in COMEDY + WAR + WESTERN))
    anchor = Anchor(rules.pop("anchor", 0.0), rules.pop("usual_pages", 5.0))
    conduct = Conduct(anchor, rules.pop("calls", 1), rules.pop("reflects", False))
    return Agent(persona, Memory(Remembering(**rules), meanings), luck_of(seed, np.array([7]))[0], Tally(1.0), conduct)


def look(who: Agent, *pages: list[Shown | None], model: Scripted | None = None) -> list:
    chosen = model or Scripted()
    return [asyncio.run(who.look(chosen, page)) for page in pages]


def stays(_: Question, answer: dict[str, Any]) -> dict[str, Any]:
    return answer | ({"then": "stay"} if "then" in answer else {})


def liked(grades: list[int]) -> int:
    return sum(grade >= Grade.VIEWED for grade in grades)


def test_lovers_of_a_genre_like_it_more_than_others_do():
    other = replace(LOVER, tastes=("War",), dislikes=("Comedy",), usual={"War": 1.0})
    page = [*COMEDY[:4], *WAR[:4]]
    lovers = np.sum([look(agent(seed=seed), page)[0].grades for seed in range(20)], axis=0)
    others = np.sum([look(agent(other, seed), page)[0].grades for seed in range(20)], axis=0)
    assert (lovers[:4] > others[:4]).all()
    assert (lovers[4:] < others[4:]).all()


def test_the_place_on_the_page_does_not_decide():
    """Each item meets the same fate wherever the policy put it."""
    page = [*COMEDY[:3], *WAR[:2], *WESTERN[:3]]
    for seed in range(10):
        forwards, backwards = look(agent(seed=seed), page)[0], look(agent(seed=seed), page[::-1])[0]
        assert list(forwards.grades) == list(backwards.grades)[::-1]


def test_the_letters_are_dealt_anew_to_each_user_and_page():
    model = Heard(stays)
    for seed in range(6):
        look(agent(seed=seed), COMEDY[:5], COMEDY[:5], model=model)
    firsts = {text.partition("A. ")[2].partition("\n")[0] for text in model.pages()}
    assert len(firsts) > 2


def test_what_happened_appears_in_later_prompts():
    model = Heard(stays)
    look(agent(), COMEDY[:4], WESTERN[:4], model=model)
    first, second = model.pages()
    assert "Comedy number 0" in first
    assert "What you remember" not in first
    remembered = second.partition("# Page")[0]
    assert "(page 1) took" in remembered
    assert "Comedy number" in remembered


def test_reflection_changes_what_is_done():
    """After a page of comedies the thought is that they are enough; without it more of them are taken."""

    def taken(reflect_after: float) -> int:
        model = Heard(stays)
        deeds = [
            look(agent(seed=seed, reflect_after=reflect_after), COMEDY[:4], COMEDY[4:], model=model)[-1]
            for seed in range(20)
        ]
        assert any(question.kind == "reflection" for question in model.questions) == (reflect_after < 10)
        return sum(liked(deed.grades) for deed in deeds)

    assert taken(0.5) < 0.8 * taken(float("inf"))


def test_two_successive_prompts_of_an_agent_begin_alike():
    """All that does not change within a session comes first."""
    model = Heard(stays)
    look(agent(recall=50), COMEDY[:4], WESTERN[:4], WAR[:4], model=model)
    _, second, third = (
        "\n".join(message.text for message in question.messages)
        for question in model.questions
        if question.kind == "page"
    )
    memory = second.partition("# Page")[0].rstrip()
    assert third.startswith(memory)


def test_an_answer_that_cannot_be_read_is_counted_and_nothing_is_liked():
    model = Heard(lambda question, answer: {"nonsense": 1} if question.kind == "page" else answer)
    who = agent()
    (deed,) = look(who, COMEDY[:3], model=model)
    assert deed.reading == "failed"
    assert list(deed.grades) == [Grade.UNSEEN] * 3
    assert not deed.leaves
    assert who.tally.counts == {("page", "failed"): 1}
    assert len(model.questions) == 2  # one repair turn


def test_in_two_calls_the_page_is_judged_after_what_was_done_with_its_items():
    model = Heard()
    first, second = look(agent(calls=2, seed=1), COMEDY[:2] + WAR[:2], COMEDY[2:4], model=model)
    kinds = [question.kind for question in model.questions]
    assert kinds[:2] == ["page", "parting"]
    looked, parting = model.questions[:2]
    assert "asked afterwards" in looked.messages[0].text
    assert "then" not in looked.schema["properties"]
    assert set(parting.schema["properties"]) == {"satisfaction", "then", "why"}
    for place, item in enumerate(COMEDY[:2] + WAR[:2]):
        did = {Grade.UNSEEN: "did not look at", Grade.PASSED: "passed over"}.get(first.grades[place], "took")
        assert f"You {did} {item.named}" in parting.messages[1].text
    assert first.reading == second.reading == "plain"
    assert first.satisfaction == model.answer(parting)["satisfaction"]


def test_in_two_calls_a_page_that_nobody_judges_keeps_what_was_done():
    model = Heard(lambda question, answer: {"nonsense": 1} if question.kind == "parting" else answer)
    (deed,) = look(agent(calls=2), COMEDY[:4], model=model)
    assert deed.reading == "failed"
    assert liked(deed.grades) > 0
    assert (deed.leaves, deed.satisfaction) == (False, 5.0)


@pytest.mark.parametrize("wrong", ["unknown letter", "twice", "missing", "renamed"])
def test_a_letter_that_is_wrong_is_repaired_and_never_another_item(wrong: str):
    def say(question: Question, answer: dict[str, Any]) -> dict[str, Any]:
        if question.kind != "page" or len(question.messages) > 2:
            return stays(question, answer)
        items = answer["items"]
        if wrong == "unknown letter":
            items = [*items[:-1], items[-1] | {"letter": "Z"}]
        elif wrong == "twice":
            items = [*items, items[0]]
        elif wrong == "missing":
            items = items[:-1]
        else:
            items = [item | {"letter": f"{item['letter']}. Comedy"} for item in items]
        return answer | {"items": items}

    page = [COMEDY[0], WAR[0], WESTERN[0]]
    (deed,), (plain,) = look(agent(), page, model=Heard(say)), look(agent(), page, model=Heard(stays))
    assert deed.reading == "repaired"
    assert deed.grades == plain.grades


def test_the_order_of_the_answers_lines_does_not_matter():
    def turned(_: Question, answer: dict[str, Any]) -> dict[str, Any]:
        return stays(_, answer) | ({"items": answer["items"][::-1]} if "items" in answer else {})

    page = [COMEDY[0], WAR[0], WESTERN[0], COMEDY[1]]
    (one,), (other,) = look(agent(), page, model=Heard(turned)), look(agent(), page, model=Heard(stays))
    assert (one.grades, one.ratings) == (other.grades, other.ratings) or np.array_equal(
        one.ratings, other.ratings, equal_nan=True
    )


def test_the_anchor_draws_satisfaction_to_what_the_user_is_used_to():
    def content(question: Question, answer: dict[str, Any]) -> dict[str, Any]:
        return stays(question, answer) | ({"satisfaction": 5} if "items" in answer else {})

    def satisfaction(anchor: float, page: list[Shown]) -> float:
        return look(agent(anchor=anchor, usual_pages=1e9), page, model=Heard(content))[0].satisfaction

    assert satisfaction(0.0, COMEDY[:4]) == satisfaction(0.0, WAR[:4]) == 5
    assert satisfaction(1.0, COMEDY[:4]) == 10
    assert satisfaction(1.0, WAR[:4]) == 1
    assert satisfaction(0.5, COMEDY[:4]) == 7.5


def test_the_anchor_draws_exits_to_the_usual_length():
    def pages(usual: float) -> float:
        lengths = []
        for seed in range(40):
            who, model, count = agent(seed=seed, anchor=1.0, usual_pages=usual), Heard(stays), 1
            while not look(who, WESTERN[:2], model=model)[0].leaves:
                count += 1
            lengths.append(count)
        return float(np.mean(lengths))

    assert pages(1.0) == 1
    assert 2 < pages(3.0) < 4.5


def timed(sessions: Mapping[int, tuple[int, int]], known: bool = True) -> Dataset:
    """Return the films' log in which each user has so many sessions of so many choices."""
    world = films_world(users=40, items=80).dataset
    users, items, times = [], [], []
    for user, (count, length) in sessions.items():
        for number in range(count * length):
            users.append(user)
            items.append(number % 80)
            times.append(number // length * 86_400 + number % length * 60 if known else NO_TIME)
    log, _ = Interactions.sort(
        *(np.array(column) for column in (users, items)),
        np.full(len(users), 4.0),
        np.array(times),
        order=np.arange(len(users)),
    )
    return replace(world, interactions=log)


def test_usual_pages_follow_each_users_own_sessions_and_the_mean_user_has_five():
    sessions = {user: (20, 2 if user % 2 else 10) for user in range(40)}
    short, long = usual_pages(timed(sessions))[[1, 0]]
    everybody = usual_pages(timed(sessions))

    assert everybody.mean() == pytest.approx(5.0)
    # By hand: log-lengths drawn to the mean of all sessions by three sessions' worth of doubt.
    middle = (np.log(2) + np.log(10)) / 2
    shrunk = [np.exp((20 * np.log(length) + 3 * middle) / 23) for length in (2, 10)]
    assert long / short == pytest.approx(shrunk[1] / shrunk[0])


def test_without_times_half_of_the_historys_log_length_stands_for_it():
    history = {user: (1, 8 if user % 2 else 35) for user in range(40)}
    found = usual_pages(timed(history, known=False))

    assert found.mean() == pytest.approx(5.0)
    assert found[0] / found[1] == pytest.approx(2.0)  # the root of 36 over 9


def test_who_has_no_history_has_the_mean_and_nobody_less_than_a_page():
    history = {user: (1, 1 if user % 2 else 2000) for user in range(39)}
    found = usual_pages(timed(history, known=False))

    assert found[39] == 5.0
    assert found.min() == 1.0
    assert found[:39].mean() == pytest.approx(5.0)


def test_anchored_users_leave_by_their_own_history_unless_a_length_is_told():
    def pages(told: Mapping[str, float]) -> list[float]:
        population = LLMPopulation(model=Heard(stays), anchor=1.0, **told)
        dataset = timed({user: (20, 2 if user % 2 else 10) for user in range(40)})
        population.fit(dataset)
        means = []
        for parity in (1, 0):
            users = np.arange(parity, 40, 2)
            loop, count = PageLoop(dataset, population, page_size=1, max_pages=40), 0
            loop.enter(users, 0)
            seats = np.arange(len(users))
            while len(seats):
                shown = np.full((len(seats), 1), int(loop.number.max()))
                turn = loop.turn(shown, seats)
                count += len(seats)
                seats = seats[~(turn.reaction.exits | turn.truncated)]
            means.append(count / len(users))
        return means

    short, long = pages({})
    assert long > 2 * short
    alike = pages({"usual_pages": 3.0})
    assert 0.5 < alike[0] / alike[1] < 2


def test_whoever_leaves_is_asked_what_it_was_like():
    def goes(_: Question, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | ({"then": "bored"} if "items" in answer else {})

    model = Heard(goes)
    (deed,) = look(agent(), COMEDY[:4], model=model)
    assert (deed.leaves, deed.cause) == (True, "bored")
    assert 1 <= deed.verdict <= 10
    assert model.questions[-1].kind == "interview"
    assert "You have left after 1 page (bored)." in model.questions[-1].messages[-1].text


def logs(split: Split, swap: Mapping[int, int]) -> dict[int, list]:
    """Return what each user does, those named having the persona of another."""
    population = LLMPopulation()
    population.fit(split.train)
    own = {user: population.persona(user) for user in range(40)}
    population._personas = {user: own[swap.get(user, user)] for user in own}
    policy = Random()
    policy.fit(split.train)
    loop = PageLoop(split.train, population, page_size=4, max_pages=3)
    items = np.arange(12).reshape(3, 4)
    loop.enter(np.arange(40), 0)
    luck = loop.luck.copy()
    loop.luck[:] = luck[0]
    loop.sessions.reseat(np.arange(40), loop.users, loop.luck)  # one luck for all: nothing but personas differ
    did: dict[int, list] = {user: [] for user in range(40)}
    for number in range(3):
        reaction = loop.sessions.react(
            Page(
                loop.users,
                np.arange(40),
                np.full(40, number, np.int32),
                np.tile(items[number], (40, 1)).astype(np.int32),
            )
        )
        for user in range(40):
            did[user].append((reaction.grades[user].tolist(), reaction.satisfaction[user], reaction.causes[user]))
    return did


def test_swapping_two_personas_swaps_their_logs(split: Split):
    plain, swapped = logs(split, {}), logs(split, {3: 8, 8: 3})
    assert plain[3] != plain[8]
    assert (swapped[3], swapped[8]) == (plain[8], plain[3])
    assert all(swapped[user] == plain[user] for user in range(40) if user not in (3, 8))


def test_personas_are_of_training_rows_alone(split: Split):
    """The same with or without the held-out rows in the data that they were taken from."""
    without = Dataset("films", split.train.catalog, split.train.users, split.train.interactions)
    assert compose(split.train, range(40)) == compose(without, range(40))
    whole = films_world(users=40, items=80).dataset
    assert compose(whole, range(40)) != compose(split.train, range(40))


def test_a_persona_says_whom_it_is_of(split: Split):
    (persona,) = compose(split.train, [5])
    assert persona.user == str(split.train.users.ids[5])
    assert persona.tastes
    assert sum(persona.usual.values()) == pytest.approx(1.0, abs=1e-4)
    assert persona_of(persona.plain()) == persona
    assert persona_of(persona.plain()).mark == persona.mark


def test_an_agents_whole_story_is_the_same_in_any_batch(split: Split):
    def played(size: int) -> list:
        population, policy = LLMPopulation(), Random()
        population.fit(split.train)
        policy.fit(split.train)
        loop = PageLoop(split.train, population, page_size=4, max_pages=4)
        turns = [turn for _, some in play(loop, policy, np.arange(40), 0, batch_size=size) for turn in some]
        rows = [
            (int(user), int(number), grades.tolist(), words)
            for turn in turns
            for user, number, grades, words in zip(
                turn.page.users, turn.page.number, turn.reaction.grades, turn.reaction.words, strict=True
            )
        ]
        return sorted(rows)

    assert played(40) == played(7) == played(1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"show": ["price"]}, "show names 'price'; there are rating, popularity"),
        ({"most_failed": 3}, "most_failed is 3; it must be a number, at least 0 and at most 1"),
        ({"anchor": 2}, "anchor is 2; it must be a number, at least 0 and at most 1"),
        ({"show": "rating"}, "show is 'rating'; it is a list, of rating, popularity or of none"),
        ({"most_failed": "few"}, "most_failed is 'few'; it must be a number"),
        ({"item_texts": {}}, "item_texts is {}; it is described, written, or a run"),
        ({"calls": True}, "calls is True; it must be a whole number"),
        ({"memory": {"depth": 3}}, "memory: takes no option 'depth'"),
        ({"model": "oracle"}, "model: no kind 'oracle'; there are"),
    ],
)
def test_an_option_that_cannot_be_is_told(options: dict[str, Any], told: str):
    with pytest.raises(SimenvError, match=told):
        LLMPopulation(**options)


def test_prompts_have_a_version_and_know_all_that_they_name():
    assert len(version()) == 16
    text = prompt("person").render(persona=LOVER, calls=1)
    assert "Comedy, such as Paper Moon" in text
    assert "{" not in text


def test_on_an_empty_page_nothing_is_done_and_an_invented_item_is_repaired():
    def invents(question: Question, answer: dict[str, Any]) -> dict[str, Any]:
        invented = [{"letter": "A", "act": "take", "rating": 5, "feeling": ""}]
        return stays(question, answer) | ({"items": invented} if len(question.messages) == 2 else {})

    (deed,) = look(agent(), [None, None], model=Heard(invents))
    assert (list(deed.grades), deed.reading) == ([Grade.UNSEEN] * 2, "repaired")


@pytest.mark.parametrize("usual_pages", ["five", float("nan"), 0])
def test_usual_pages_that_are_no_number_are_told(usual_pages: Any):
    with pytest.raises(SimenvError, match=r"usual_pages is .*; it must be a number, above 0"):
        LLMPopulation(anchor=0.5, usual_pages=usual_pages)
