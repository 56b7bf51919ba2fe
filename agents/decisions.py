"""What agents are asked where a model takes typed decisions, and how their own luck settles its probabilities.

Each decision is drawn by itself: a model says how likely each outcome is, and not what goes with what.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import get_args

import numpy as np

from simenv.arrays import BitArray
from simenv.chance import key, mix, uniform
from simenv.chat.asking import Typed
from simenv.chat.decisions import Chances
from simenv.chat.model import Decision

from .answers import ItemAnswer, PageAnswer, Verdict, letters
from .prompts import prompt

# The first of each is what holds for a decision that was refused: to skip, and to stay.
ACTS = get_args(ItemAnswer.model_fields["act"].annotation)
THENS = get_args(PageAnswer.model_fields["then"].annotation)
LEVELS = tuple(str(level) for level in range(1, 11))  # of satisfaction; those of a rating are the first five
NEUTRAL = 4  # its place among them where it was refused, as where a page could not be read
PLACES = np.arange(2000)  # of a page's decisions: two for itself, two for each item


def page_decisions(count: int, luck: np.uint64, page: int) -> Typed[PageAnswer]:
    """Return a page of so many items as decisions, to be settled by a user's luck with this page."""
    return Typed(_of_page(count), partial(_page, luck, page))


def interview_decisions(luck: np.uint64) -> Typed[Verdict]:
    """Return the interview after a session as a decision; nothing is said beside it."""
    return Typed(_of_interview(), partial(_verdict, luck))


def drawn(chances: Sequence[Chances | None], luck: BitArray | np.uint64) -> list[int | None]:
    """Return what each decision comes to, by the luck of its place alone; None where it got no probabilities."""
    shares = uniform(mix(luck, PLACES[: len(chances)])).tolist()
    return [None if some is None else _at(some, share) for some, share in zip(chances, shares, strict=True)]


def _at(chances: Chances, share: float) -> int:
    """Return the outcome at this share of all probabilities laid end to end; never one that has none."""
    left, last = share * sum(chances), 0
    for outcome, chance in enumerate(chances):
        if chance and left < chance:
            return outcome
        left, last = left - chance, outcome if chance else last
    return last


@lru_cache
def _of_page(count: int) -> tuple[Decision, ...]:
    """Return a page's decisions, one and the same for a count: its own first, so that no item's place depends on it."""
    made = [
        Decision("satisfaction", "score", _text("satisfaction"), LEVELS),
        Decision("then", "choice", _text("then"), THENS),
    ]
    for letter in letters(count):
        made.append(Decision(f"act_{letter}", "choice", _text("act", letter), ACTS))
        made.append(Decision(f"rating_{letter}", "score", _text("rating", letter), LEVELS[:5]))
    return tuple(made)


@lru_cache
def _of_interview() -> tuple[Decision, ...]:
    return (Decision("satisfaction", "score", _text("verdict"), LEVELS),)


def _text(about: str, letter: str = "") -> str:
    return prompt("decision").render(about=about, letter=letter).strip()


def _page(luck: np.uint64, page: int, chances: Sequence[Chances | None]) -> PageAnswer | None:
    """Return what is done with a page, None where most of its items were refused.

    A refused item is skipped, a refused rating is none, and who was refused the rest stays and is neither pleased nor
    displeased.
    """
    satisfaction, then, *rest = drawn(chances, key(int(luck), "page", page))
    acts, ratings = rest[::2], rest[1::2]
    if acts.count(None) > len(acts) / 2:
        return None
    items = []
    for letter, act, rating in zip(letters(len(acts)), acts, ratings, strict=True):
        did = ACTS[act or 0]
        stars = rating + 1 if did == "take" and rating is not None else 0
        items.append(ItemAnswer(letter=letter, act=did, rating=stars, feeling=""))
    level = (NEUTRAL if satisfaction is None else satisfaction) + 1
    return PageAnswer(items=items, satisfaction=level, then=THENS[then or 0], why="")


def _verdict(luck: np.uint64, chances: Sequence[Chances | None]) -> Verdict | None:
    (level,) = drawn(chances, key(int(luck), "interview"))
    return None if level is None else Verdict(satisfaction=level + 1, why="")
