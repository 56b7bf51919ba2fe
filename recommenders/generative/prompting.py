"""Histories as a language model reads them: each item by its tokens, one after the other, and how it was graded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simenv.arrays import GradeArray, IntArray
from simenv.pages import EMPTY, GRADE_WORDS, Grade

if TYPE_CHECKING:
    from torch import Tensor

END, BEGIN = 0, 1
FIRST_GRADE = 2
FIRST_ITEM = FIRST_GRADE + len(Grade)
SPECIAL = ("<end>", "<begin>", *(f"<{word}>" for word in GRADE_WORDS))


@dataclass(frozen=True, slots=True, eq=False)
class Prompting:
    """How items and histories are written in tokens."""

    rows: IntArray  # [I, T], each item's tokens, EMPTY after its end
    grades: bool = False  # whether an item is followed by what became of it
    first: int = 0  # the number of <end>, which the other tokens of `SPECIAL` follow: a checkpoint has its own before
    users: IntArray | None = None  # [U, S], each user's tokens, EMPTY after their end; None: users are not told

    @property
    def begin(self) -> int:
        """Return the token that every prompt begins with."""
        return self.first + BEGIN

    @property
    def end(self) -> int:
        """Return the token that ends a text, and stands after a prompt's end."""
        return self.first + END

    @property
    def longest(self) -> int:
        """Return how many tokens an item takes at most in a history."""
        return self.rows.shape[1] + self.grades

    @property
    def head(self) -> int:
        """Return how many tokens stand before a history at most."""
        return 1 + (0 if self.users is None else self.users.shape[1])

    def names_items(self, tokens: Tensor) -> Tensor:
        """Tell which tokens of written histories are items', of those that count."""
        theirs = (tokens <= self.first + END) | (tokens >= self.first + FIRST_ITEM)
        if self.users is not None and (self.users != EMPTY).any():
            known = self.users[self.users != EMPTY]
            theirs &= (tokens < int(known.min())) | (tokens > int(known.max()))
        return theirs

    def written(
        self, items: IntArray, grades: GradeArray | None = None, users: IntArray | None = None
    ) -> tuple[IntArray, IntArray]:
        """Return histories [B, L] as prompts [B, P] from the left, `end` after their end, and their lengths [B].

        EMPTY stands where a history has no item. What became of an item is taken to be LIKED unless `grades` tell.
        Where `users` [B] are told, and not EMPTY, their tokens stand before their histories.
        """
        told = self.rows[np.maximum(items, 0)]
        told = np.where((items == EMPTY)[:, :, None], EMPTY, told)
        if self.grades:
            known = np.full(items.shape, Grade.LIKED) if grades is None else grades
            after = np.where(items == EMPTY, EMPTY, self.first + FIRST_GRADE + known.astype(np.int64))
            told = np.concatenate([told, after[:, :, None]], axis=2)
        head = np.full((len(items), 1), self.begin)
        if self.users is not None and users is not None:
            names = np.where((users == EMPTY)[:, None], EMPTY, self.users[np.maximum(users, 0)])
            head = np.concatenate([head, names], axis=1)
        flat = np.concatenate([head, told.reshape(len(items), -1)], axis=1)
        there = flat != EMPTY
        lengths = there.sum(axis=1)
        order = np.argsort(~there, axis=1, kind="stable")[:, : int(lengths.max(initial=1))]
        return np.where(np.take_along_axis(there, order, 1), np.take_along_axis(flat, order, 1), self.end), lengths
