"""Lessons are what agents would be asked, with the answers that others gave, read as any answer is."""

import json

import numpy as np
import pyarrow as pa
import pytest

from simenv.agents.answers import PageAnswer, complaint
from simenv.agents.lessons import Answered, Rehearsal, of_choices, past_and_choices
from simenv.agents.llm import LLMPopulation
from simenv.chance import key, mix
from simenv.dataset import Dataset
from simenv.films import films_world
from simenv.pages import Grade
from simenv.splits import leave_one_out

NAN = float("nan")


@pytest.fixture(scope="module")
def train() -> Dataset:
    return leave_one_out(films_world(users=40, items=60).dataset).train


@pytest.fixture(scope="module")
def agents(train: Dataset) -> LLMPopulation:
    population = LLMPopulation()
    population.fit(train)
    return population


def answered(items: list[int], grades: list[Grade], ratings: list[float], cause: str | None = None) -> Answered:
    return Answered(items, [int(grade) for grade in grades], ratings, 7.0, cause)


def test_an_answer_is_read_as_what_was_done(agents):
    page = answered(
        [3, 5, 7, 9, 11],
        [Grade.LIKED, Grade.PASSED, Grade.UNSEEN, Grade.VIEWED, Grade.DISLIKED],
        [4.6, NAN, NAN, 3.4, 1.2],
        "bored",
    )
    (lesson,) = Rehearsal(agents).session(4, [page])

    answer = PageAnswer.model_validate_json(lesson.answer)
    titles = {agents.dataset.catalog.titles[item]: item for item in page.items}
    lines = [line for line in lesson.messages[1].text.splitlines() if line[1:3] == ". "]
    item_of = {line[0]: titles[line[4:].partition('"')[0]] for line in lines}
    done = {item_of[one.letter]: (one.act, one.rating) for one in answer.items}
    assert done == {3: ("take", 5), 5: ("pass", 0), 7: ("skip", 0), 9: ("take", 3), 11: ("take", 1)}
    assert (answer.satisfaction, answer.then) == (7, "bored")
    assert complaint(answer, [line[0] for line in lines]) is None


def test_a_rating_never_contradicts_its_grade(agents):
    page = answered([1, 2, 3, 4], [Grade.LIKED, Grade.VIEWED, Grade.DISLIKED, Grade.VIEWED], [3.6, 3.9, 2.4, NAN])
    (lesson,) = Rehearsal(agents).session(0, [page])
    ratings = sorted(one["rating"] for one in json.loads(lesson.answer)["items"])
    assert ratings in ([2, 3, 3, 4], [0, 2, 3, 4], [2, 2, 3, 4])
    grades = {"take": {0, 1, 2, 3, 4, 5}, "pass": {0}, "skip": {0}}
    assert all(one["rating"] in grades[one["act"]] for one in json.loads(lesson.answer)["items"])


def test_a_later_page_is_asked_with_the_memory_of_the_earlier(agents):
    first = answered([3, 5], [Grade.LIKED, Grade.PASSED], [5.0, NAN])
    second = answered([8, 9], [Grade.PASSED, Grade.PASSED], [NAN, NAN], "tired")
    one, other = Rehearsal(agents).session(2, [first, second])
    assert "What you remember" not in one.messages[1].text
    taken = agents.dataset.catalog.titles[3]
    assert f'took "{taken}"' in other.messages[1].text
    assert json.loads(other.answer)["then"] == "tired"


def test_lessons_are_what_the_agents_of_a_run_were_asked(agents, train):
    """A session of agents, written again from what its log would hold, asks the very same questions."""
    asked = []

    class Listening:
        settings = agents.model.settings

        async def ask(self, question):
            if question.kind == "page":
                asked.append(question)
            return await agents.model.ask(question)

        async def close(self) -> None: ...

    heard = LLMPopulation(model=Listening(), memory={"reflect_after": float("inf")})
    heard.fit(train)
    luck = mix(key(0, "rehearsal", 0), 6)
    sessions = heard.enter(np.array([6]), luck)
    pages = []
    from simenv.pages import Page

    for number in range(3):
        items = np.arange(5 * number, 5 * number + 5)[None]
        shown = Page(np.array([6]), np.array([0]), np.array([number]), items)
        done = sessions.react(shown)
        words = done.words[0] or ""
        pages.append(
            Answered(items[0].tolist(), done.grades[0].tolist(), done.ratings[0].tolist(), float(done.satisfaction[0]),
                     done.causes[0] if done.exits[0] else None, words, done.remembered[0] or "")
        )  # fmt: skip
        if done.exits[0]:
            break
    lessons = Rehearsal(agents).session(6, pages)
    assert [one.messages for one in lessons] == [question.messages for question in asked]


def test_real_choices_are_taken_and_what_nobody_met_is_passed_over(train):
    past, later = past_and_choices(train)
    assert sum(map(len, later.values())) + len(past.interactions) == len(train.interactions)
    population = LLMPopulation()
    population.fit(past)
    lessons = list(of_choices(population, train, later, most=60, page_size=5))
    assert len(lessons) == 60
    titles = np.array(train.catalog.titles)
    for lesson in lessons[:20]:
        mine = set(train.interactions.items[train.starts[lesson.user] : train.starts[lesson.user + 1]].tolist())
        known = {titles[item] for item in mine}
        lines = {
            line[0]: line[4:].partition('"')[0] for line in lesson.messages[1].text.splitlines() if line[1:3] == ". "
        }
        for one in json.loads(lesson.answer)["items"]:
            assert (one["act"] == "take") == (lines[one["letter"]] in known)


def test_lessons_know_nothing_of_what_was_chosen_later(train):
    past, later = past_and_choices(train)
    user = max(later, key=lambda one: len(later[one]))
    chosen = set(train.interactions.items[later[user]].tolist())
    before = set(past.interactions.items[past.starts[user] : past.starts[user + 1]].tolist())
    assert chosen
    assert before
    assert not chosen & before


def test_the_same_seed_writes_the_same_lessons(train):
    past, later = past_and_choices(train)
    population = LLMPopulation()
    population.fit(past)
    one, other, third = (list(of_choices(population, train, later, most=10, seed=seed)) for seed in (0, 0, 1))
    assert one == other != third


def test_a_log_is_told_session_by_session(agents, train):
    from simenv.agents.lessons import logged_sessions

    ids = train.catalog.ids
    users = train.users.ids
    events = pa.table({
        "policy": ["pop"] * 3, "seed": [0] * 3, "user_id": [users[0], users[0], users[1]], "page": [0, 1, 0],
        "rank": [0, 0, 0], "item_id": [ids[1], ids[2], ids[3]], "grade": ["liked", "passed", "unseen"],
        "rating": [5.0, None, None],
    })  # fmt: skip
    pages = pa.table({
        "policy": ["pop"] * 3, "seed": [0] * 3, "user_id": [users[0], users[0], users[1]], "page": [0, 1, 0],
        "satisfaction": [8.0, 4.0, 2.0], "exit": [False, True, True], "exit_cause": ["", "bored", ""],
    })  # fmt: skip
    (first, mine), (second, other) = logged_sessions(events, pages, train, agents.stars)
    assert (first, second) == (users[0], users[1])
    assert [(page.items, page.grades, page.cause) for page in mine] == [([1], [4], None), ([2], [2], "bored")]
    assert [page.cause for page in other] == ["tired"]
