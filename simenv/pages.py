"""What users are shown, and what they do with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from .arrays import BoolArray, FloatArray, GradeArray, IntArray, WordArray

EMPTY = -1  # stands where a page has no item


class Grade(IntEnum):
    """What became of a shown item. DISLIKED < PASSED < VIEWED < LIKED; UNSEEN stands outside that order."""

    UNSEEN = 0  # not looked at, which is never a dislike
    DISLIKED = 1
    PASSED = 2
    VIEWED = 3
    LIKED = 4


GRADE_WORDS = np.array([grade.name.lower() for grade in Grade], dtype=object)


def watched(grades: GradeArray, ratings: FloatArray) -> BoolArray:
    """Tell which items were watched: viewed, liked, or disliked with a rating to show for it."""
    return (grades >= Grade.VIEWED) | ((grades == Grade.DISLIKED) & ~np.isnan(ratings))


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What a batch of users is shown."""

    users: IntArray  # [B]
    seats: IntArray  # [B], the row of each user among those who entered together
    number: IntArray  # [B], counted from 0
    items: IntArray  # [B, K], best first, EMPTY where there is none
    propensities: FloatArray | None = None  # [B, K], how likely the policy was to put the item there


@dataclass(frozen=True, slots=True, eq=False)
class Reaction:
    """What they did with it."""

    grades: GradeArray  # [B, K]
    ratings: FloatArray  # [B, K], NaN where none was given
    satisfaction: FloatArray  # [B], 1 to 10
    exits: BoolArray  # [B]
    causes: WordArray  # [B], why they left; '' for those who stay
    known: BoolArray | None = None  # [B, K], False where the answer is a guess; None where all are known
    words: Sequence[str | None] | None = None  # [B], what they say, where they have words
    readings: WordArray | None = None  # [B], how their answer was read: one of `asking.How`
    remembered: Sequence[str | None] | None = None  # [B], what was written to memory at this page, as JSON
    verdicts: FloatArray | None = None  # [B], what they say of the policy once they left, 1 to 10; NaN for others
    asked: Sequence[str | None] | None = None  # [B], the kind of each question and how it was read, as JSON pairs


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One page and the reaction to it, as the event log remembers them."""

    page: Page
    reaction: Reaction
    repeated: BoolArray  # [B, K], places emptied because their item was shown before
    truncated: BoolArray  # [B], sessions that end here by the page limit alone
