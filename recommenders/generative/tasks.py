"""What a generative recommender can be taught beside the next item: prompts and their answers, from training rows.

A prompt begins with the task's own token; each of its parts, the last too, is closed by one that says so.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from simenv.arrays import GradeArray, IntArray
from simenv.dataset import Dataset, grades_of
from simenv.errors import SimenvError
from simenv.options import check_number
from simenv.pages import EMPTY, Grade

from .prompting import FIRST_GRADE, Prompting

CLOSES, YES, NO = "<then>", "<yes>", "<no>"
NEXT = "next"
CANDIDATES = 20  # of which one is picked
LONGEST_TEXT = 32  # tokens of a text that are read or written
FAVOURITES = 3  # categories that a profile names
LONGEST_QUERY = 3  # words


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """All that a prompt and its answer may be made of."""

    user: int = EMPTY
    items: Sequence[int] = ()  # the history, oldest first
    grades: Sequence[int] = ()
    candidates: Sequence[int] = ()
    item: int = EMPTY
    text: str = ""
    liked: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """How parts of a prompt are written in tokens."""

    prompting: Prompting
    number: Callable[[str], int]  # of a token of ours, by its name
    encode: Callable[[str], list[int]]  # of a text

    def prompt(self, task: str, *parts: Sequence[int]) -> list[int]:
        """Return a task's prompt."""
        closes = self.number(CLOSES)
        told = [self.prompting.begin, self.number(start(task))]
        for part in parts:
            told += [*part, closes]
        return told

    def item(self, item: int) -> list[int]:
        """Return an item's tokens."""
        return [int(token) for token in self.prompting.rows[item] if token != EMPTY]

    def history(self, case: Case) -> list[int]:
        """Return a user's tokens, where they are told, and the history's."""
        told = self.user(case.user)
        for item, grade in zip(case.items, case.grades, strict=True):
            told += self.item(item)
            if self.prompting.grades:
                told.append(self.prompting.first + FIRST_GRADE + int(grade))
        return told

    def user(self, user: int) -> list[int]:
        """Return a user's tokens; none where users are not told, or this one is not known."""
        if self.prompting.users is None or user == EMPTY:
            return []
        return [int(token) for token in self.prompting.users[user] if token != EMPTY]

    def text(self, text: str) -> list[int]:
        """Return a text's tokens, as many as are read."""
        return self.encode(text)[:LONGEST_TEXT]

    def whole_text(self, text: str) -> list[int]:
        """Return a text's tokens as an answer, with their end."""
        return [*self.text(text), self.prompting.end]


class Lore:
    """What tasks are drawn from: the training rows, and no others."""

    def __init__(self, dataset: Dataset, window: int, users: IntArray | None = None) -> None:
        self.dataset, self.window, self.users = dataset, window, users
        self.log = dataset.interactions
        self.grades = grades_of(self.log.ratings)

    @cached_property
    def later(self) -> IntArray:
        """The rows with another before them."""
        return np.flatnonzero(np.arange(len(self.log)) > self.dataset.starts[self.log.users])

    @cached_property
    def later_liked(self) -> IntArray:
        """Those of them that were liked."""
        return self.later[self.grades[self.later] == Grade.LIKED]

    @cached_property
    def told(self) -> IntArray:
        """The users with a profile and, where users are told, tokens of their own."""
        named = np.diff(self.dataset.starts) > 0
        if self.users is not None:
            named &= (self.users != EMPTY).any(axis=1)
        return np.array([user for user in np.flatnonzero(named).tolist() if self.profile(user)], dtype=np.int64)

    def case(self, row: int) -> Case:
        """Return a row's item, and what its user met before."""
        user = int(self.log.users[row])
        past = slice(max(int(self.dataset.starts[user]), row - self.window), row)
        return Case(
            user,
            self.log.items[past].tolist(),
            self.grades[past].tolist(),
            item=int(self.log.items[row]),
            liked=bool(self.grades[row] == Grade.LIKED),
        )

    def last(self, user: int) -> Case:
        """Return a user's last items, and the profile."""
        end = int(self.dataset.starts[user + 1])
        past = slice(max(int(self.dataset.starts[user]), end - self.window), end)
        return Case(user, self.log.items[past].tolist(), self.grades[past].tolist(), text=self.profile(user))

    def text(self, item: int) -> str:
        """Return an item's title and categories."""
        catalog = self.dataset.catalog
        return " ".join((catalog.title(item), *catalog.categories[item]))

    def profile(self, user: int) -> str:
        """Return the categories of what a user liked, the most frequent first; '' where there are none."""
        past = slice(int(self.dataset.starts[user]), int(self.dataset.starts[user + 1]))
        liked = self.log.items[past][self.grades[past] == Grade.LIKED].tolist()
        counts = Counter(name for item in liked for name in self.dataset.catalog.categories[item])
        return " ".join(sorted(counts, key=lambda name: (-counts[name], name))[:FAVOURITES])

    def texts(self) -> list[str]:
        """Return all that may have to be read: each item's text."""
        return [self.text(item) for item in range(len(self.dataset.catalog))]

    def years(self) -> list[str]:
        """Return the items' years, where they are known."""
        years = self.dataset.catalog.years
        return [str(int(year)) for year in years[np.isfinite(years)]]

    def unmet(self, user: int, without: int, most: int, rng: np.random.Generator) -> list[int]:
        """Return up to so many items that a user never met, `without` among them, in an order by chance."""
        past = slice(int(self.dataset.starts[user]), int(self.dataset.starts[user + 1]))
        met = {without, *self.log.items[past].tolist()}
        count = len(self.dataset.catalog)
        if count < 4 * (len(met) + most):
            return [item for item in rng.permutation(count).tolist() if item not in met][:most]
        found: dict[int, None] = {}
        while len(found) < most:
            found |= dict.fromkeys(item for item in rng.integers(0, count, 2 * most).tolist() if item not in met)
        return list(found)[:most]


class PromptTask(Protocol):
    """Turns a case into a prompt and its answer."""

    name: str
    reads: bool  # whether its prompts or answers hold text

    def draw(self, lore: Lore, rng: np.random.Generator) -> Case | None:
        """Return a case by chance; None where the training rows have none."""
        ...

    def prompt(self, pen: Writing, case: Case) -> list[int]:
        """Return the prompt's tokens."""
        ...

    def answer(self, pen: Writing, case: Case) -> list[int]:
        """Return the tokens that are to be learnt."""
        ...


class ItemToText:
    """An item's tokens, then its title and categories."""

    name, reads = "item-to-text", True

    def draw(self, lore: Lore, rng: np.random.Generator) -> Case | None:
        """Return any item."""
        item = int(rng.integers(len(lore.dataset.catalog)))
        return Case(item=item, text=lore.text(item))

    def prompt(self, pen: Writing, case: Case) -> list[int]:
        """Return the item."""
        return pen.prompt(self.name, pen.item(case.item))

    def answer(self, pen: Writing, case: Case) -> list[int]:
        """Return the text."""
        return pen.whole_text(case.text)


class TextToItem(ItemToText):
    """An item's title and categories, then its tokens."""

    name = "text-to-item"

    def prompt(self, pen: Writing, case: Case) -> list[int]:
        """Return the text."""
        return pen.prompt(self.name, pen.text(case.text))

    def answer(self, pen: Writing, case: Case) -> list[int]:
        """Return the item."""
        return pen.item(case.item)


class Search(TextToItem):
    """A few words of an item's title and categories, then its tokens."""

    name = "search"

    def draw(self, lore: Lore, rng: np.random.Generator) -> Case | None:
        """Return any item and some of its words, in an order by chance."""
        item = int(rng.integers(len(lore.dataset.catalog)))
        words = list(dict.fromkeys(lore.text(item).split()))
        count = int(rng.integers(1, LONGEST_QUERY + 1))
        query = " ".join(words[place] for place in rng.permutation(len(words))[:count])
        return Case(item=item, text=query)


class UserToText:
    """A user's tokens, or else the history, then the categories of what he liked."""

    name, reads = "user-to-text", True

    def draw(self, lore: Lore, rng: np.random.Generator) -> Case | None:
        """Return any user who has a profile."""
        return lore.last(int(rng.choice(lore.told))) if len(lore.told) else None

    def prompt(self, pen: Writing, case: Case) -> list[int]:
        """Return the user."""
        return pen.prompt(self.name, pen.user(case.user) or pen.history(case))

    def answer(self, pen: Writing, case: Case) -> list[int]:
        """Return the categories."""
        return pen.whole_text(case.text)


class TextToUser(UserToText):
    """The categories of what a user liked, then his tokens."""

    name = "text-to-user"

    def prompt(self, pen: Writing, case: Case) -> list[int]:
        """Return the categories."""
        return pen.prompt(self.name, pen.text(case.text))

    def answer(self, pen: Writing, case: Case) -> list[int]:
        """Return the user."""
        return pen.user(case.user)


class YesNo:
    """A history and an item, then whether it was liked (TALLRec, Bao 2023).

    Where the training rows hold nothing that was not liked, every other item is one that the user never met, and a no.
    """

    name, reads = "yes-no", False

    def draw(self, lore: Lore, rng: np.random.Generator) -> Case | None:
        """Return any later row."""
        if not len(lore.later):
            return None
        case = lore.case(int(rng.choice(lore.later)))
        if len(lore.later_liked) == len(lore.later) and rng.random() < 0.5:
            others = lore.unmet(case.user, case.item, 1, rng)
            return Case(case.user, case.items, case.grades, item=others[0]) if others else None
        return case

    def prompt(self, pen: Writing, case: Case) -> list[int]:
        """Return the history and the item."""
        return pen.prompt(self.name, pen.history(case), pen.item(case.item))

    def answer(self, pen: Writing, case: Case) -> list[int]:
        """Return yes or no."""
        return [pen.number(YES if case.liked else NO)]


class Pick:
    """A history and candidates, then the one of them that the user liked next (InstructRec; S-DPO's 19 others)."""

    name, reads = "pick", False

    def draw(self, lore: Lore, rng: np.random.Generator) -> Case | None:
        """Return any later row that was liked, its item among others that the user never met."""
        if not len(lore.later_liked):
            return None
        case = lore.case(int(rng.choice(lore.later_liked)))
        others = [*lore.unmet(case.user, case.item, CANDIDATES - 1, rng), case.item]
        order = rng.permutation(len(others))
        return Case(case.user, case.items, case.grades, [others[place] for place in order], case.item)

    def prompt(self, pen: Writing, case: Case) -> list[int]:
        """Return the history and the candidates."""
        return pen.prompt(self.name, pen.history(case), [t for item in case.candidates for t in pen.item(item)])

    def answer(self, pen: Writing, case: Case) -> list[int]:
        """Return the item."""
        return pen.item(case.item)


TASKS: Mapping[str, PromptTask] = {
    task.name: task for task in (ItemToText(), TextToItem(), UserToText(), TextToUser(), YesNo(), Pick(), Search())
}


def start(task: str) -> str:
    """Return the token that a task's prompts begin with."""
    return f"<task_{task}>"


def task_tokens(tasks: Mapping[str, float]) -> list[str]:
    """Return the tokens that these tasks need, in an order of their own."""
    wanted = [name for name in TASKS if name in tasks]
    return [*map(start, wanted), CLOSES, YES, NO] if wanted else []


def checked_tasks(tasks: Mapping[str, float] | None, users: bool) -> dict[str, float]:
    """Return the tasks and their weights, or tell what is wrong with them."""
    known = (NEXT, *TASKS)
    if tasks is not None and not isinstance(tasks, Mapping):
        raise SimenvError(f"tasks is {tasks!r}; it gives each task its weight, such as {{next: 1, search: 0.2}}")
    told = {NEXT: 1.0} if tasks is None else dict(tasks)
    for name, weight in told.items():
        if name not in known:
            raise SimenvError(f"no task {name!r}; there are {', '.join(known)}")
        check_number(above=0, **{f"the weight of {name}": weight})
    if not told:
        raise SimenvError(f"tasks is empty; there are {', '.join(known)}")
    if TextToUser.name in told and not users:
        raise SimenvError(f"the task {TextToUser.name} writes users' tokens; it wants users: true")
    return {name: float(weight) for name, weight in told.items()}


def shares(tasks: Mapping[str, float], stretches: int) -> dict[str, int]:
    """Return how many rows of each task an epoch holds: in proportion to the histories of `next`, if that is one."""
    whole = tasks.get(NEXT) or sum(tasks.values())
    return {name: max(1, round(stretches * tasks[name] / whole)) for name in TASKS if name in tasks}


def drawn(
    task: PromptTask, lore: Lore, pen: Writing, count: int, rng: np.random.Generator
) -> list[tuple[list[int], list[int]]]:
    """Return so many prompts and answers of a task by chance; an answer of nothing is left out."""
    rows = []
    for _ in range(count):
        case = task.draw(lore, rng)
        if case is not None and (answer := task.answer(pen, case)):
            rows.append((task.prompt(pen, case), answer))
    return rows


def room(tasks: Mapping[str, float], prompting: Prompting, window: int) -> int:
    """Return how many tokens the longest prompt of these tasks takes, its answer included."""
    past = prompting.head + window * prompting.longest
    longest = 0
    if tasks.keys() & {Pick.name, YesNo.name, UserToText.name}:
        many = CANDIDATES + 1 if Pick.name in tasks else 1
        longest = past + 4 + many * prompting.rows.shape[1]
    if any(TASKS[name].reads for name in tasks if name in TASKS):
        longest = max(longest, past if UserToText.name in tasks else 0) + LONGEST_TEXT + 6 + prompting.rows.shape[1]
        longest += prompting.head
    return longest


def case_of(user: int, items: IntArray, grades: GradeArray | None, candidates: Sequence[int] = ()) -> Case:
    """Return the case of a user's history as a policy has it, EMPTY where nothing stands."""
    there = items != EMPTY
    past = items[there].tolist()
    taken = [int(Grade.LIKED)] * len(past) if grades is None else grades[there].tolist()
    return Case(user, past, taken, candidates)
