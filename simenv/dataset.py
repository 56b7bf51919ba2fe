"""A data set: a catalogue, its users, and what passed between them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray, GradeArray, IdArray, IntArray, WordArray
from .catalog import Catalog
from .interactions import Interactions
from .pages import Grade

Ragged = tuple[IntArray, IntArray]  # rows and values of a ragged array, flattened


@dataclass(frozen=True, eq=False)
class Users:
    """The users by index; `ids` are the data set's own names for them."""

    ids: IdArray  # [U]
    attributes: Mapping[str, WordArray] = field(default_factory=dict)  # each [U], None where absent

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def ranks(self) -> IntArray:
        """Each user's place in the order of the ids."""
        ranks = np.empty(len(self), dtype=np.int64)
        ranks[np.argsort(self.ids, kind="stable")] = np.arange(len(self))
        return ranks


@dataclass(frozen=True, eq=False)
class Dataset:
    """A catalogue, its users, and what passed between them.

    `published` holds the splits that came with the data, by name: one word for each interaction
    (train, valid, test, or '' for rows left out). `is_synthetic` tells that no real user ever acted in it.
    """

    name: str
    catalog: Catalog
    users: Users
    interactions: Interactions
    published: Mapping[str, WordArray] = field(default_factory=dict)
    is_synthetic: bool = False

    def __repr__(self) -> str:
        size = f"{len(self.users):,} users, {len(self.catalog):,} items, {len(self.interactions):,} interactions"
        splits = f", splits {', '.join(sorted(self.published))}" if self.published else ""
        return f"<Dataset {self.name[:80]!r}: {size}{splits}>"

    def only(self, interactions: Interactions) -> "Dataset":
        """Return the same catalogue and users with these interactions alone."""
        return replace(self, interactions=interactions, published={})

    @cached_property
    def starts(self) -> IntArray:
        """Where each user's interactions begin: [U + 1]."""
        return self.interactions.starts(len(self.users))

    @cached_property
    def has_repeats(self) -> bool:
        """Whether a user met an item more than once."""
        log = self.interactions
        return len(np.unique(log.users.astype(np.int64) * len(self.catalog) + log.items)) < len(log)

    @cached_property
    def popularity(self) -> IntArray:
        """How many interactions each item has: [I]."""
        return np.bincount(self.interactions.items, minlength=len(self.catalog))

    def rows_of(self, users: IntArray) -> Ragged:
        """Return, for these users one after the other, their place in `users` and their row numbers."""
        starts = self.starts[users]
        lengths = self.starts[users + 1] - starts
        places = np.repeat(np.arange(len(users)), lengths)
        first = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        return places, first + np.arange(len(places))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything in it: two data sets with one fingerprint are the same."""
        digest = hashlib.blake2b(digest_size=16)
        log = self.interactions
        parts: list[tuple[NDArray[Any], str]] = [
            (log.users, "<i4"),
            (log.items, "<i4"),
            (log.ratings, "<f4"),
            (log.times, "<i8"),
            (self.catalog.years, "<f8"),
        ]
        if log.strengths is not None:
            parts.append((log.strengths, "<f4"))
        for part, kind in parts:
            digest.update(part.astype(kind).tobytes())
        words = (
            self.catalog.ids.tolist(),
            self.users.ids.tolist(),
            self.catalog.titles.tolist(),
            self.catalog.categories,
            self.catalog.descriptions.tolist(),
            sorted((name, column.tolist()) for name, column in self.users.attributes.items()),
        )
        digest.update(repr(words).encode())
        for name, column in sorted(self.published.items()):
            digest.update(f"{name}: {' '.join(column.tolist())}".encode())
        return digest.hexdigest()


def liked_from(ratings: FloatArray) -> float:
    """Return the rating from which an item counts as liked: 4 of 5, and the like on other scales."""
    return _on_scale(ratings, 0.8)


def disliked_to(ratings: FloatArray) -> float:
    """Return the rating up to which an item counts as disliked: 2 of 5, and the like on other scales."""
    return _on_scale(ratings, 0.4)


def grades_of(ratings: FloatArray) -> GradeArray:
    """Return the grade that goes with each logged rating; without one, to choose an item is to like it."""
    grades = np.full(ratings.shape, Grade.VIEWED, dtype=np.int8)
    grades[(ratings >= liked_from(ratings)) | np.isnan(ratings)] = Grade.LIKED
    grades[ratings <= disliked_to(ratings)] = Grade.DISLIKED
    return grades


def _on_scale(ratings: FloatArray, share: float) -> float:
    """Return what lies at this share of a scale that begins at 0, or at the lowest rating if that is below."""
    known = ratings[np.isfinite(ratings)]
    if len(known) == 0:
        return float("nan")
    bottom = min(0.0, float(known.min()))
    return bottom + share * (float(known.max()) - bottom)
