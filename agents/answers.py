"""The form of what an agent answers, and how letters become items again."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import ascii_uppercase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from simenv.plain_text import one_line

MOST_SAID = 300  # characters that are kept of what an agent says


def _clamped(low: int, high: int) -> BeforeValidator:
    """Take a number as text or with a fraction for the nearest in bounds, as people write them."""

    def clamp(value: Any) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        if isinstance(value, bool):
            raise ValueError("a number is wanted, neither true nor false")  # which would count as 1 and 0
        try:
            return min(max(round(float(value)), low), high)
        except (TypeError, ValueError, OverflowError):
            return value

    return BeforeValidator(clamp)


def _cut(value: Any) -> Any:
    """Cut what is said to its length, in one line: bounds in the schema make servers emit raw control characters."""
    return one_line(value)[:MOST_SAID].replace('"', "'") if isinstance(value, str) else value


Said = Annotated[str, BeforeValidator(_cut)]


class Form(BaseModel):
    """An answer; what was not asked for is not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ItemAnswer(Form):
    """What was done with one item."""

    letter: str
    act: Literal["skip", "pass", "take"]
    rating: Annotated[int, _clamped(0, 5)]
    feeling: Said


class Looked(Form):
    """What was done with the items of a page."""

    items: list[ItemAnswer]


class Parting(Form):
    """What was made of a page as a whole."""

    satisfaction: Annotated[int, _clamped(1, 10)]
    then: Literal["stay", "tired", "bored", "disappointed", "called away"]  # stays for another page, or why not
    why: Said


class PageAnswer(Parting, Looked):
    """What was done with a page, and made of it."""


class Thought(Form):
    """What an agent has come to believe."""

    belief: Said


class Verdict(Form):
    """What an agent says of the recommender after leaving."""

    satisfaction: Annotated[int, _clamped(1, 10), Field(description="1 to 10")]
    why: Said


class Portrait(Form):
    """Who a user is."""

    tastes: list[Said]
    dislikes: list[Said]
    habit: Said


class Blurb(Form):
    """What is said of an item."""

    text: str


class Keywords(Form):
    """What an item is about."""

    keywords: list[Said]


class Choice(Form):
    """Which of two items was taken."""

    choice: Literal["A", "B"]
    why: Said


class Introduction(Form):
    """Who a user is, in his own words."""

    introduction: str


class Retold(Form):
    """What is said of two items."""

    first: str
    second: str


class Order(Form):
    """Letters, the most wanted first."""

    order: list[str]


@lru_cache
def letters(count: int) -> tuple[str, ...]:
    """Return the first letters: A to Z, then AA, AB and so on."""
    some = list(ascii_uppercase)
    some += [first + second for first in ascii_uppercase for second in ascii_uppercase]
    return tuple(some[:count])


def complaint(answer: Looked, known: Sequence[str]) -> str | None:
    """Say what is wrong with a page's answer: every letter is wanted once, and no other."""
    said = [item.letter for item in answer.items]
    if len(said) == len(known) and set(said) == set(known):
        return None
    strange = sorted(set(said) - set(known))
    if strange and not known:
        return "nothing stands on this page; items is an empty list"
    if strange:
        return f"there is no item {strange[0][:20]!r}; the letters are {known[0]} to {known[-1]}"
    twice = sorted({letter for letter in said if said.count(letter) > 1})
    if twice:
        return f"item {twice[0]} is answered twice; answer each letter once"
    missing = [letter for letter in known if letter not in said]
    return f"item {missing[0]} is not answered; answer each letter once" if missing else None


def by_letter(answer: Looked) -> Mapping[str, ItemAnswer]:
    """Return the items' answers by their letters."""
    return {item.letter: item for item in answer.items}
