"""How a statistical user browses a page, whatever taught us his tastes.

He looks at the places from the top down and less and less (position bias). What he looks at he may
view, by relevance less boredom; what he viewed he rates on his own scale. A page that falls short of
what he is used to lowers his mood; pages tire him and sameness bores him, and by these he leaves.
All that he needs to know of an item stands in one vector, so a page costs one small matrix product.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simenv.arrays import BitArray, BoolArray, FloatArray, GradeArray, IntArray
from simenv.chance import key, mix, uniform
from simenv.errors import SimenvError
from simenv.pages import Grade, Page, Reaction

CAUSES = np.array(["", "tired", "bored", "disappointed"], dtype=object)
ITEM_KEY, EXIT_KEY = key(0, "item"), key(0, "exit")
FIELD = np.uint64((1 << 21) - 1)  # three draws of 21 bits come out of 64
S21, S42 = np.uint64(21), np.uint64(42)
LOGISTIC = float(np.sqrt(3) / np.pi)  # makes logistic noise of unit variance


@dataclass(frozen=True, slots=True)
class Habits:
    """How everybody browses; declared, since few logs tell."""

    look: float = 0.92  # how likely the next place is looked at, given the one before
    boredom: float = 1.0  # how much a page all like the last ones loses, in log-odds
    boredom_memory: float = 0.7  # how much of the boredom stays from page to page
    mood_memory: float = 0.5  # how much of the mood stays from page to page
    first_mood: float = 0.6
    steepness: float = 4.0  # of satisfaction around what the user is used to
    leave: float = -2.0  # log-odds to leave the first page in a middling mood
    tiring: float = 0.22  # added by each page
    boring: float = 2.0  # added by boredom
    disappointing: float = 3.5  # added by a mood all the way down, taken off by one all the way up
    patience: float = 0.4  # taken off for a patient user


@dataclass(frozen=True, slots=True, eq=False)
class Minds:
    """What a population of browsing users is made of."""

    items: FloatArray  # [I, D]
    view: FloatArray  # [U, D], times an item: log-odds to view it once looked at
    rate: FloatArray  # [U, D], times an item: its rating on a hidden scale
    boring: FloatArray  # [D], how far a direction of the item vectors can bore; 0 for fame and the like
    noise: FloatArray  # [U], of a rating on the hidden scale
    cuts: FloatArray  # [L - 1], where one level of rating ends and the next begins
    levels: FloatArray  # [L], the ratings; NaN where the data are implicit
    grades: GradeArray  # [L], the grade that goes with each
    usual: FloatArray  # [U], the worth of a page that the user is used to
    patience: FloatArray  # [U], 0 for the usual
    habits: Habits


class Browsing:
    """Browsing users, each in a seat."""

    def __init__(self, minds: Minds, users: IntArray, luck: BitArray) -> None:
        self.minds = minds
        width = minds.items.shape[1]
        # The columns: log-odds to view, rating, and what has been seen too much of.
        self.vectors = np.zeros((len(users), width, 3), dtype=np.float32)
        self.noise = np.zeros((len(users), 1), dtype=np.float32)
        self.usual = np.zeros(len(users), dtype=np.float32)
        self.stay = np.zeros(len(users), dtype=np.float32)
        self.mood = np.zeros(len(users), dtype=np.float32)
        self.item_luck = np.zeros((len(users), 1), dtype=np.uint64)
        self.exit_luck = np.zeros(len(users), dtype=np.uint64)
        self._everybody = np.arange(len(users))
        self.reseat(self._everybody, users, luck)

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Let these users begin a session in seats that others have left."""
        minds, habits = self.minds, self.minds.habits
        self.vectors[seats, :, 0] = minds.view[users]
        self.vectors[seats, :, 1] = minds.rate[users]
        self.vectors[seats, :, 2] = 0
        self.noise[seats, 0] = minds.noise[users]
        self.usual[seats] = minds.usual[users]
        self.stay[seats] = habits.leave - habits.patience * minds.patience[users]
        self.mood[seats] = habits.first_mood
        self.item_luck[seats, 0] = mix(ITEM_KEY, luck)
        self.exit_luck[seats] = mix(EXIT_KEY, luck)

    def react(self, page: Page) -> Reaction:
        """Return what the users in `page.seats` do with the page."""
        minds, habits = self.minds, self.minds.habits
        here = slice(None) if len(page.seats) == len(self._everybody) else page.seats
        items = page.items
        absent = items < 0
        vectors = minds.items.take(items, axis=0, mode="wrap")  # [B, K, D]; an absent item's counts nowhere
        scores = vectors @ self.vectors[here]  # one product a user, so no batch changes another's digits
        boredom = np.maximum(scores[..., 2], 0)
        odds = np.exp(habits.boredom * boredom - scores[..., 0])
        views = 1 / (1 + odds)

        bits = mix(self.item_luck[here], items)
        looks = _field(bits) < _looks(habits.look, items.shape[1])
        viewed = looks & (_field(bits >> S21) < views)
        chance = _field(bits >> S42)
        joy = scores[..., 1] + self.noise[here] * (np.log(chance / (1 - chance)) * LOGISTIC).astype(np.float32)
        level = np.zeros(items.shape, dtype=np.int8)
        for cut in minds.cuts:
            level += joy > cut
        if absent.any():
            looks &= ~absent
            viewed &= ~absent
            views[absent] = 0
            boredom[absent] = 0
        grades = np.where(viewed, minds.grades[level], looks * np.int8(Grade.PASSED))
        ratings = np.where(viewed, minds.levels[level], np.float32(np.nan))
        return self._settle(page, here, vectors, views, boredom, grades, ratings, looks)

    def _settle(
        self,
        page: Page,
        here: IntArray | slice,
        vectors: FloatArray,
        views: FloatArray,
        boredom: FloatArray,
        grades: GradeArray,
        ratings: FloatArray,
        looks: BoolArray,
    ) -> Reaction:
        """Let the page work on mood and boredom, and let those leave who have had enough."""
        habits = self.minds.habits
        weight = _weights(habits.look, grades.shape[1])
        worth = ((views + GAIN[grades]) * weight).sum(axis=1)
        content = 1 / (1 + np.exp(habits.steepness * (self.usual[here] - worth)))
        mood = habits.mood_memory * self.mood[here] + (1 - habits.mood_memory) * content
        self.mood[here] = mood

        seen = looks.astype(np.float32)
        count = np.maximum(seen.sum(axis=1), 1)
        met = (seen[:, None, :] @ vectors)[:, 0, :] / count[:, None]
        memory = habits.boredom_memory
        self.vectors[here, :, 2] = memory * self.vectors[here, :, 2] + (1 - memory) * met * self.minds.boring

        tired = habits.tiring * page.number
        bored = habits.boring * (boredom * weight).sum(axis=1)
        disappointed = habits.disappointing * (0.5 - mood)
        urge = self.stay[here] + tired + bored + disappointed
        drawn = uniform(mix(self.exit_luck[here], page.number))
        exits = drawn * (1 + np.exp(-urge)) < 1
        cause = np.where(bored > tired, 2, 1)
        cause = np.where(disappointed > np.maximum(bored, tired), 3, cause)
        return Reaction(grades, ratings, 1 + 9 * content, exits, CAUSES[cause * exits])


GAIN = np.array([0.0, -0.5, 0.0, 0.5, 1.0], dtype=np.float32)  # what a grade adds to a page's worth


def _field(bits: BitArray) -> FloatArray:
    """Return a float32 strictly between 0 and 1 for the lowest 21 bits."""
    return ((bits & FIELD).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-21)


@lru_cache(maxsize=64)
def _looks(look: float, size: int) -> FloatArray:
    """Return how likely each place of a page is to be looked at."""
    return (look ** np.arange(size)).astype(np.float32)


@lru_cache(maxsize=64)
def _weights(look: float, size: int) -> FloatArray:
    """Return what each place counts for in a page's worth; they sum to 1."""
    return _looks(look, size) / _looks(look, size).sum()


def usual_worth(items: FloatArray, view: FloatArray, popularity: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return the worth of a page of well-known items for each user [U], half-way to everybody's.

    That is what a user is used to, so an easily pleased user is not simply a satisfied one.
    """
    share = (popularity + 1) / (popularity + 1).sum()
    sample = rng.choice(len(items), size=min(100, len(items)), replace=False, p=share)
    views = (1 / (1 + np.exp(-(view @ items[sample].T)))).mean(axis=1)
    return (0.75 * (1 + 0.5) * (views + views.mean()) / 2).astype(np.float32)

def fitted(minds: Minds | None, population: object) -> Minds:
    """Return the minds, or say that the population has none yet."""
    if minds is None:
        raise SimenvError(f"{type(population).__name__}: nobody can enter before fit(dataset)")
    return minds
