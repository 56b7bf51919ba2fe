"""Pages that somebody answered, written as agents are asked and answer: what a language-model user learns from."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from simenv.arrays import IntArray
from simenv.chance import key, mix, stream
from simenv.chat.crowd import the_loop
from simenv.chat.model import Message
from simenv.dataset import Dataset
from simenv.errors import RunError, SimenvError
from simenv.eventlog import grade_numbers
from simenv.pages import EMPTY, Grade

from .agent import NEUTRAL, Agent, Conduct, Deed, Shown
from .answers import MOST_SAID, ItemAnswer, PageAnswer, Parting
from .llm import LLMPopulation
from .memory import Memory, Remembering
from .stars import Stars
from .tally import Tally

LEAVES = get_args(Parting.model_fields["then"].annotation)
UNTOLD = "tired"  # why somebody left whose log says it in other words
RATED = {Grade.DISLIKED: (1, 2), Grade.VIEWED: (0, 3), Grade.LIKED: (4, 5)}  # what a rating can be with a grade


@dataclass(frozen=True, slots=True)
class Lesson:
    """A page as one agent was asked, and the answer."""

    user: int
    messages: tuple[Message, ...]
    answer: str  # JSON of a PageAnswer


@dataclass(frozen=True, slots=True)
class Answered:
    """What was done with a page."""

    items: Sequence[int]  # in the order shown
    grades: Sequence[int]
    ratings: Sequence[float]  # 1 to 5, NaN where none
    satisfaction: float
    cause: str | None  # why the user left after it; None: he stayed
    words: str = ""
    remembered: str = ""  # what was written to memory then, as JSON, where that is known


class Rehearsal:
    """Asks agents again what was asked of others, and writes down the answers that were given then."""

    def __init__(self, population: LLMPopulation, seed: int = 0) -> None:
        self.population, self.seed = population, seed
        # Nothing is thought over: no model is asked, and what was believed then stands in the log.
        self.rules = Remembering(**{**_plain(population.rules), "reflect_after": float("inf")})

    def session(self, user: int, pages: Sequence[Answered], draw: int = 0) -> list[Lesson]:
        """Return the lessons of one user's session, page by page; another draw gives the items other letters."""
        return asyncio.run_coroutine_threadsafe(self._session(user, pages, draw), the_loop()).result()

    async def _session(self, user: int, pages: Sequence[Answered], draw: int) -> list[Lesson]:
        population = self.population
        memory = Memory(self.rules, population.meanings)
        luck = mix(key(self.seed, "rehearsal", draw), user)[0]
        agent = Agent(population.persona(user), memory, luck, Tally(1.0), Conduct())
        lessons = []
        for page in pages:
            shown = [population.shelf.shown(item) for item in page.items]
            asked, items, _ = agent.turn_to(shown)
            recalled = await memory.recall([item.named for item in items.values()])
            messages = (agent.system, Message("user", agent.page_text(items, recalled)))
            lessons.append(Lesson(user, messages, written(page, asked)))
            if page.remembered:
                memory.relive(page.remembered)
            else:
                agent.remember(shown, _deed(page, shown))
        return lessons


def written(page: Answered, asked: Mapping[str, int]) -> str:
    """Return what was done with a page as an agent answers it, its items by their letters."""
    items = [_item(letter, Grade(page.grades[place]), page.ratings[place]) for letter, place in asked.items()]
    satisfaction = round(min(max(_or(page.satisfaction, NEUTRAL), 1.0), 10.0))
    then = "stay" if page.cause is None else page.cause if page.cause in LEAVES else UNTOLD
    answer = PageAnswer(items=items, satisfaction=satisfaction, then=then, why=page.words[:MOST_SAID])  # type: ignore[arg-type]
    return json.dumps({"items": [one.model_dump() for one in items]} | answer.model_dump(exclude={"items"}))


def _item(letter: str, grade: Grade, rating: float) -> ItemAnswer:
    if grade == Grade.UNSEEN or grade == Grade.PASSED:
        act = "skip" if grade == Grade.UNSEEN else "pass"
        return ItemAnswer(letter=letter, act=act, rating=0, feeling="")  # type: ignore[arg-type]
    low, high = RATED[grade]
    stars = round(min(max(_or(rating, (low + high) / 2), low), high))
    return ItemAnswer(letter=letter, act="take", rating=3 if grade == Grade.VIEWED and stars else stars, feeling="")


def _or(number: float, otherwise: float) -> float:
    return number if number == number else otherwise


def _deed(page: Answered, shown: Sequence[Shown | None]) -> Deed:
    """Return what was done with a page as an agent remembers it."""
    grades = [grade if item is not None else int(Grade.UNSEEN) for grade, item in zip(page.grades, shown, strict=True)]
    leaves, satisfaction = page.cause is not None, _or(page.satisfaction, NEUTRAL)
    return Deed(grades, page.ratings, satisfaction, leaves, page.cause or "", page.words, "plain")


def of_run(
    population: LLMPopulation, events: pa.Table, pages: pa.Table, *, most: int, seed: int = 0
) -> Iterator[Lesson]:
    """Yield lessons from a run's log, session by session in an order by chance, until there are so many."""
    dataset = population.dataset
    index = {user_id: user for user, user_id in enumerate(dataset.users.ids.tolist())}
    sessions = logged_sessions(events, pages, dataset, population.stars)
    rehearsal = Rehearsal(population, seed)
    order = stream(seed, "sessions to learn from").permutation(len(sessions))
    count = 0
    for number, place in enumerate(order.tolist()):
        if count >= most:
            return
        user_id, answered = sessions[place]
        if user_id not in index:
            raise RunError(f"user {user_id!r} of the run is none of {dataset.name}; is it another data set's run?")
        lessons = rehearsal.session(index[user_id], answered, number)[: most - count]
        count += len(lessons)
        yield from lessons


def logged_sessions(
    events: pa.Table, pages: pa.Table, dataset: Dataset, stars: Stars
) -> list[tuple[object, list[Answered]]]:
    """Return the sessions of a log, both tables in its canonical order: whose each is, and the pages answered."""
    items = dataset.catalog.index(events["item_id"].to_pylist())
    grades = grade_numbers(events["grade"])
    ratings = stars.of(events["rating"].to_numpy(zero_copy_only=False).astype(float))
    keys = ("policy", "seed", "user_id", "page")
    of_event = list(zip(*(events[key].to_pylist() for key in keys), strict=True))
    told = pages.to_pylist()
    found: list[tuple[object, list[Answered]]] = []
    first, before = 0, None
    for row in told:
        key = tuple(row[name] for name in keys)
        end = first
        while end < len(of_event) and of_event[end] == key:
            end += 1
        rows = slice(first, end)
        first = end
        page = Answered(
            items[rows].tolist(),
            grades[rows].tolist(),
            ratings[rows].tolist(),
            row["satisfaction"],
            (row["exit_cause"] or UNTOLD) if row["exit"] else None,
            row.get("words") or "",
            row.get("remembered") or "",
        )
        if key[:3] != before:
            found.append((row["user_id"], []))
            before = key[:3]
        found[-1][1].append(page)
    return found


def past_and_choices(dataset: Dataset, share: float = 0.5) -> tuple[Dataset, dict[int, IntArray]]:
    """Return the first part of each user's rows as a data set, and the later rows of those who have some."""
    starts = dataset.starts
    lengths = np.diff(starts)
    cuts = starts[:-1] + np.ceil(lengths * (1 - share)).astype(np.int64)
    rows = np.arange(len(dataset.interactions))
    earlier = rows < np.repeat(cuts, lengths)
    later = {
        user: np.arange(cut, end) for user, (cut, end) in enumerate(zip(cuts, starts[1:], strict=True)) if end > cut
    }
    return dataset.only(dataset.interactions[earlier]), later


def of_choices(
    population: LLMPopulation,
    whole: Dataset,
    later: Mapping[int, IntArray],
    *,
    most: int,
    page_size: int = 10,
    taken: int = 3,
    most_pages: int = 5,
    seed: int = 0,
) -> Iterator[Lesson]:
    """Yield lessons from what real users chose, until there are so many.

    The population knows the earlier rows alone; `later` holds rows of `whole`. A page shows some items that the user
    took next, `taken` at most, among items he never met, drawn as well known as they are; he takes the first, with the
    ratings that he gave, and passes over the others. How satisfied he was is not known: it is told by his ratings, and
    by how much of the page he took where there are none.
    """
    if not later:
        raise SimenvError(f"{whole.name}: nobody has rows enough for a past and choices after it")
    rehearsal = Rehearsal(population, seed)
    log, count = whole.interactions, 0
    stars = population.stars
    users = np.array(sorted(later))
    for user in stream(seed, "users to learn from").permutation(users).tolist():
        if count >= most:
            return
        rng = stream(seed, "pages of choices", user)
        met = set(log.items[whole.starts[user] : whole.starts[user + 1]].tolist())
        pages: list[Answered] = []
        rows = later[user].tolist()
        while rows and len(pages) < most_pages:
            size = int(rng.integers(0, taken + 1)) if pages else int(rng.integers(1, taken + 1))
            now, rows = rows[:size], rows[size:]
            others = _never_met(whole, met, page_size - len(now), rng)
            ratings = stars.of(log.ratings[now]) if len(now) else np.empty(0)
            liked = [_grade(one) for one in ratings.tolist()]
            items = np.concatenate([log.items[now], others]).astype(np.int64)
            order = rng.permutation(len(items))
            grades = np.array([*liked, *[int(Grade.PASSED)] * len(others)])[order]
            given = np.concatenate([ratings, np.full(len(others), np.nan)])[order]
            leaves = not rows or len(pages) + 1 == most_pages
            satisfaction = _satisfaction(ratings, len(now), taken)
            pages.append(
                Answered(
                    items[order].tolist(), grades.tolist(), given.tolist(), satisfaction, UNTOLD if leaves else None
                )
            )
        lessons = rehearsal.session(user, pages)[: most - count]
        count += len(lessons)
        yield from lessons


def _never_met(dataset: Dataset, met: set[int], count: int, rng: np.random.Generator) -> IntArray:
    """Return items that a user never met, drawn as often as others took them; EMPTY where there are too few."""
    log = dataset.interactions.items
    found: dict[int, None] = {}
    for _ in range(20):
        for item in log[rng.integers(len(log), size=2 * count)].tolist():
            if item not in met and len(found) < count:
                found[item] = None
        if len(found) == count:
            break
    return np.array([*found, *[EMPTY] * (count - len(found))], dtype=np.int64)


def _grade(rating: float) -> int:
    if rating != rating or rating >= 4:
        return int(Grade.LIKED)
    return int(Grade.DISLIKED if rating <= 2 else Grade.VIEWED)


def _satisfaction(ratings: Any, count: int, taken: int) -> float:
    known = ratings[np.isfinite(ratings)]
    if len(known):
        return float(1 + 9 * (known.mean() - 1) / 4)
    return 1 + 9 * count / taken


def _plain(rules: Remembering) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in Remembering.__slots__}
