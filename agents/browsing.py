"""How a statistical user browses a page, whatever taught us his tastes.

He looks at the places less and less, from the top down (position bias). What he looks at he may
view, by relevance less boredom; what he viewed he rates on his own scale. A page that falls short of
what he is used to lowers his mood; pages tire him and sameness bores him, and by these he leaves.

All that is known of an item stands in one vector, all that is known of a user's session in one row,
and what happens to a user on a page is one compiled loop over its places: nobody's page depends on
who else looks at one. Chances are compared as log-odds: 13 bits of luck are looked up as the logistic
noise that they stand for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Annotated

import numba
import numpy as np
from scipy.special import expit, logit

from simenv.arrays import BitArray, FloatArray, GradeArray, IntArray
from simenv.chance import key, mix, uniform
from simenv.errors import SimenvError
from simenv.judgement import Judgement
from simenv.pages import Grade, Page, Reaction
from simenv.products import product

NONE = np.empty((0, 0), dtype=np.float32)
CAUSES = np.array(["", "tired", "bored", "disappointed", "called away"], dtype=object)
LOGISTIC = float(np.sqrt(3) / np.pi)  # makes logistic noise of unit variance
PAGE_BITS = mix(key(0, "leaving"), np.arange(4096))
ODD, LOW13 = np.uint64(0xD6E8FEB86659FD93), np.uint64(2**13 - 1)
S16, S32, S51 = np.uint64(16), np.uint64(32), np.uint64(51)
NOISE = np.log((np.arange(2**13) + 0.5) / (2**13 - np.arange(2**13) - 0.5)).astype(np.float32)  # fits a fast cache


Share = Annotated[float, "from 0 to 1"]


@dataclass(frozen=True, slots=True)
class Habits:
    """How everybody browses; declared, since few logs tell."""

    look: Share = 0.92  # by how much less likely each next place is looked at
    boredom: float = 1.0  # log-odds that an item loses which is all like the last pages
    boredom_memory: Share = 0.7  # how much of the boredom stays from page to page
    mood_memory: Share = 0.5  # how much of the mood stays from page to page
    first_mood: Annotated[float, "from -1 to 1"] = 0.2
    steepness: float = 4.0  # of satisfaction around what the user is used to
    leave: float = -2.0  # log-odds to leave the first page in a middling mood
    tiring: float = 0.22  # added by each page
    boring: float = 2.0  # added by pages all alike
    disappointing: float = 1.75  # added by the worst mood, taken off by the best
    patience: float = 0.4  # taken off for a patient user


RANGES = {"look": (0, 1), "boredom_memory": (0, 1), "mood_memory": (0, 1), "first_mood": (-1, 1)}


def habits_of(options: Mapping[str, float]) -> Habits:
    """Return the habits with these ones changed, or say which there are."""
    known = [field.name for field in fields(Habits)]
    for name, value in options.items():
        if name not in known:
            raise SimenvError(f"no habit '{name}'; there are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise SimenvError(f"habit {name} is {value!r}; it must be a number")
        low, high = RANGES.get(name, (-math.inf, math.inf))
        if not low <= value <= high:
            raise SimenvError(f"habit {name} is {value}; it must be from {low} to {high}")
    return Habits(**options)


@dataclass(frozen=True, eq=False)
class Minds:
    """What a population of browsing users is made of."""

    items: FloatArray  # [I, D]
    view: FloatArray  # [U, D], times an item: log-odds to view it once looked at
    merits: FloatArray  # [I, E]
    rate: FloatArray  # [U, E], times an item's merits: its rating on a hidden scale
    boring: FloatArray  # [D], how far a direction of the item vectors can bore; 0 for fame and the like
    noise: FloatArray  # [U], of a rating on the hidden scale
    cuts: FloatArray  # [L - 1], where one level of rating ends and the next begins
    levels: FloatArray  # [L], the ratings; NaN where the data are implicit
    grades: GradeArray  # [L], the grade that goes with each
    usual: FloatArray  # [U], the worth of a page that the user is used to
    patience: FloatArray  # [U], 0 for the usual
    meeting: FloatArray  # [I], log of how much oftener the item is met than one drawn blindly
    bar: FloatArray  # [U], added to log-odds of choices, so that they part from items drawn blindly at 0
    habits: Habits

    @cached_property
    def bits(self) -> BitArray:
        """Bits of their own for each item."""
        return mix(key(0, "item"), np.arange(len(self.items)))

    @cached_property
    def sides(self) -> FloatArray:
        """All that is known of an item in one row, as the compiled loop takes it: its vector, then its merits."""
        return np.hstack([self.items, self.merits])

    @cached_property
    def beginnings(self) -> FloatArray:
        """Each user's row at the start of a session: to view, what has been met too often, to rate, and the rest."""
        habits, count = self.habits, len(self.view)
        rest = np.empty((count, 4))
        rest[:, NOISE_AT] = self.noise * LOGISTIC
        rest[:, USUAL_AT] = self.usual
        rest[:, STAY_AT] = habits.leave - habits.patience * self.patience
        rest[:, MOOD_AT] = habits.first_mood
        return np.hstack([self.view, np.zeros_like(self.view), self.rate, rest]).astype(np.float32)

    @cached_property
    def temper(self) -> FloatArray:
        """The habits as the compiled loop takes them."""
        habits = self.habits
        names = ("boredom", "boredom_memory", "mood_memory", "steepness", "tiring", "boring", "disappointing")
        return np.array([getattr(habits, name) for name in names], dtype=np.float32)

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him, no page around it."""
        odds = np.einsum("nd,nd->n", self.view[users], self.items[items]) + self.meeting[items] + self.bar[users]
        hidden = np.einsum("nd,nd->n", self.rate[users], self.merits[items]).astype(np.float64)
        scatter = self.noise[users].astype(np.float64) * LOGISTIC
        drawn = hidden + scatter * logit(uniform(mix(luck, RATING)) + 2.0**-54)
        mean = np.full(len(hidden), self.levels[0], dtype=np.float64)
        for cut, step in zip(self.cuts, np.diff(self.levels), strict=True):
            mean += step * expit((hidden - cut) / scatter)
        ratings = self.levels[np.searchsorted(self.cuts, drawn)]
        return Judgement(expit(odds), ratings, mean.astype(np.float32))


RATING = 1  # what a rating is drawn by, of a pair's bits
NOISE_AT, USUAL_AT, STAY_AT, MOOD_AT = 0, 1, 2, 3  # the columns of a session's row after its three vectors
WORTH = np.array([0.0, -0.25, 0.0, 0.25, 0.5], dtype=np.float32)  # of a grade to a page


class Browsing:
    """Browsing users, each in a seat."""

    def __init__(self, minds: Minds, users: IntArray, luck: BitArray) -> None:
        self.minds = minds
        self.rows = minds.beginnings[users]
        self.luck = luck.copy()

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Let these users begin a session in seats that others have left."""
        self.rows[seats] = self.minds.beginnings[users]
        self.luck[seats] = luck

    def react(self, page: Page, draws: FloatArray = NONE, joys: FloatArray = NONE) -> Reaction:
        """Return what the users in `page.seats` do with the page.

        If given, `draws` [B, K] are the log-odds to view, and `joys` [B, K] the ratings on the hidden scale.
        """
        minds, shape = self.minds, page.items.shape
        grades = np.empty(shape, dtype=np.int8)
        ratings = np.empty(shape, dtype=np.float32)
        satisfaction = np.empty(shape[0], dtype=np.float32)
        causes = np.empty(shape[0], dtype=np.int8)
        _browse(
            *(page.items, page.seats, page.number, self.rows, self.luck),
            *(minds.sides, minds.bits, minds.boring),
            *(minds.cuts, minds.levels, minds.grades, minds.temper),
            *(*_places(minds.habits.look, shape[1]), draws, joys),
            *(grades, ratings, satisfaction, causes),
        )
        return Reaction(grades, ratings, satisfaction, causes > 0, CAUSES.take(causes))


@numba.njit(cache=True)
def _score(items, row, vectors, width, weights, traits, met, draws, joys, sames):  # type: ignore[no-untyped-def]
    """Write what the user would make of each item: how it draws him, its joy, and how far it is more of the same.

    `met` becomes the page's mean item. All places are summed at once, one part of the vectors after the
    other: that is fast, and it is one order everywhere.
    """
    both, size = traits.shape
    met[:] = 0
    for rank, item in enumerate(items):
        weight = weights[rank] if item >= 0 else np.float32(0)
        vector = vectors[max(item, 0)]
        for part in range(width):
            met[part] += weight * vector[part]
        for part in range(both):
            traits[part, rank] = vector[part]
    draws[:] = 0
    joys[:] = 0
    sames[:] = 0
    for part in range(width):
        view, much = row[part], row[width + part]
        for rank in range(size):
            draws[rank] += view * traits[part, rank]
            sames[rank] += much * traits[part, rank]
    for part in range(width, both):
        joy = row[width + part]
        for rank in range(size):
            joys[rank] += joy * traits[part, rank]


@numba.njit(cache=True)
def _browse(  # type: ignore[no-untyped-def]
    items, seats, numbers, rows, luck,
    vectors, bits, boring,
    cuts, levels, level_grades, temper,
    look_odds, weights, given, given_joys,
    grades, ratings, satisfaction, causes,
):  # fmt: skip
    """Let each user look through a page, then let the page work on mood and boredom, and ask whether he stays."""
    boredom, boredom_memory, mood_memory, steepness, tiring, boring_weight, disappointing = temper
    width, both, size = len(boring), vectors.shape[1], items.shape[1]
    traits = np.empty((both, size), dtype=np.float32)
    met = np.empty(width, dtype=np.float32)
    draws = np.empty(size, dtype=np.float32)
    joys = np.empty(size, dtype=np.float32)
    sames = np.empty(size, dtype=np.float32)
    for place, seat in enumerate(seats):
        row = rows[seat]
        bored, rest = row[width : 2 * width], row[width + both :]
        _score(items[place], row, vectors, width, weights, traits, met, draws, joys, sames)
        if len(given):
            draws[:] = given[place]
        if len(given_joys):
            joys[:] = given_joys[place]
        page_luck = luck[seat] ^ PAGE_BITS[numbers[place] % len(PAGE_BITS)]
        worth, alike = np.float32(0), np.float32(0)
        for rank, item in enumerate(items[place]):
            grades[place, rank] = UNSEEN
            ratings[place, rank] = np.nan
            if item < 0:
                worth -= np.float32(0.25) * weights[rank]
                continue
            same = max(sames[rank], np.float32(0))
            draw = draws[rank] - boredom * same
            alike += weights[rank] * same
            worth += np.float32(0.25) * weights[rank] * draw / (np.float32(2) + abs(draw))
            # He looks anew on every page, but what he makes of an item stays.
            glance = (bits[item] ^ page_luck) * ODD
            chance = (bits[item] ^ luck[seat]) * ODD
            chance = (chance ^ (chance >> S32)) * ODD
            if NOISE[glance >> S51] >= look_odds[rank]:
                continue
            grades[place, rank] = PASSED
            if NOISE[(chance >> S32) & LOW13] >= draw:
                continue
            joy = joys[rank] + rest[NOISE_AT] * NOISE[(chance >> S16) & LOW13]
            level = 0
            for cut in cuts:
                level += joy > cut
            grades[place, rank] = level_grades[level]
            ratings[place, rank] = levels[level]
            worth += weights[rank] * WORTH[level_grades[level]]
        content = np.tanh(np.float32(0.5) * steepness * (worth - rest[USUAL_AT]))
        mood = mood_memory * rest[MOOD_AT] + (np.float32(1) - mood_memory) * content
        rest[MOOD_AT] = mood
        for part in range(width):
            bored[part] = boredom_memory * bored[part] + (np.float32(1) - boredom_memory) * met[part] * boring[part]
        satisfaction[place] = np.float32(5.5) + np.float32(4.5) * content

        tired, sated, let_down = tiring * numbers[place], boring_weight * alike, -disappointing * mood
        drawn = page_luck * ODD
        causes[place] = 0
        if NOISE[drawn >> S51] < rest[STAY_AT] + tired + sated + let_down:
            reason = max(tired, sated, let_down)
            causes[place] = 4 if reason <= 0 else 3 if let_down == reason else 2 if sated == reason else 1


UNSEEN, PASSED = int(Grade.UNSEEN), int(Grade.PASSED)


@lru_cache(maxsize=64)
def _places(look: float, size: int) -> tuple[FloatArray, FloatArray]:
    """Return the log-odds that each place is looked at, and what it counts for in a page's worth: [K] each."""
    looks = look ** np.arange(size)
    chance = np.clip(looks, 2.0**-17, 1 - 2.0**-17)
    return np.log(chance / (1 - chance)).astype(np.float32), (looks / looks.sum()).astype(np.float32)


def usual_worth(items: FloatArray, view: FloatArray, popularity: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return the worth of a page of well-known items for each user [U], half-way to everybody's.

    That is what a user is used to, so an easily pleased user is not simply a satisfied one.
    """
    share = (popularity + 1) / (popularity + 1).sum()
    sample = rng.choice(len(items), size=min(100, len(items)), replace=False, p=share)
    return worth_of(product(view, items[sample].T))


def worth_of(odds: FloatArray) -> FloatArray:
    """Return the worth of a page with such log-odds [U, S] for each user, half-way to everybody's [U]."""
    worth = (0.25 * odds / (2 + np.abs(odds)) + 0.3 * expit(odds)).mean(axis=1)
    return ((worth + worth.mean()) / 2).astype(np.float32)


def fitted(minds: Minds | None, population: object) -> Minds:
    """Return the minds, or say that the population has none yet."""
    if minds is None:
        raise SimenvError(f"{type(population).__name__}: nobody can enter before fit(dataset)")
    return minds
