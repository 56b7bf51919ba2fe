"""How a statistical user browses a page, whatever taught us his tastes.

He looks at the places from the top down and less and less (position bias). What he looks at he may
view, by relevance less boredom; what he viewed he rates on his own scale. A page that falls short of
what he is used to lowers his mood; pages tire him and sameness bores him, and by these he leaves.

All that is known of an item stands in one vector, all that is known of a user's session in one row,
so a page is a few array operations whether one user looks at it or a thousand. Chances are compared
as log-odds: 16 bits of luck are looked up as the logistic noise that they stand for.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from simenv.arrays import BitArray, BoolArray, FloatArray, GradeArray, IntArray, WordArray
from simenv.chance import key, mix
from simenv.errors import SimenvError
from simenv.pages import Grade, Page, Reaction

CAUSES = np.array(["tired", "bored", "disappointed"], dtype=object)
LOGISTIC = float(np.sqrt(3) / np.pi)  # makes logistic noise of unit variance
PAGE_BITS = mix(key(0, "leaving"), np.arange(4096))
FIRST, SECOND = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)  # odd, and otherwise arbitrary
S32, S48 = np.uint64(32), np.uint64(48)
NOISE = np.log((np.arange(2**16) + 0.5) / (2**16 - np.arange(2**16) - 0.5)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Habits:
    """How everybody browses; declared, since few logs tell."""

    look: float = 0.92  # how likely the next place is looked at, given the one before
    boredom: float = 1.0  # log-odds that an item loses which is all like the last pages
    boredom_memory: float = 0.7  # how much of the boredom stays from page to page
    mood_memory: float = 0.5  # how much of the mood stays from page to page
    first_mood: float = 0.2  # from -1 to 1
    steepness: float = 4.0  # of satisfaction around what the user is used to
    leave: float = -2.0  # log-odds to leave the first page in a middling mood
    tiring: float = 0.22  # added by each page
    boring: float = 2.0  # added by pages all alike
    disappointing: float = 1.75  # added by the worst mood, taken off by the best
    patience: float = 0.4  # taken off for a patient user


@dataclass(frozen=True, eq=False)
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

    @property
    def width(self) -> int:
        """The length of an item vector."""
        return self.items.shape[1]

    @cached_property
    def padded(self) -> FloatArray:
        """The item vectors, and last a zero for the absent item, whose index -1 finds it there."""
        return np.vstack([self.items, np.zeros((1, self.width), np.float32)])

    @cached_property
    def bits(self) -> BitArray:
        """Bits of their own for each item, the absent one included."""
        return mix(key(0, "item"), np.arange(len(self.items) + 1))

    @cached_property
    def beginnings(self) -> FloatArray:
        """Each user's row at the start of a session: what to view now, rating, what to view, boredom, and the rest."""
        habits, count = self.habits, len(self.view)
        rest = np.empty((count, 4))
        rest[:, NOISE_AT] = self.noise * LOGISTIC
        rest[:, USUAL_AT] = self.usual
        rest[:, STAY_AT] = habits.leave - habits.patience * self.patience
        rest[:, MOOD_AT] = habits.first_mood
        return np.hstack([self.view, self.rate, self.view, np.zeros_like(self.view), rest]).astype(np.float32)

    @cached_property
    def outcomes(self) -> tuple[GradeArray, FloatArray, FloatArray]:
        """For each outcome (unseen, passed, then the levels of rating): its grade, rating, and worth to a page."""
        grades = np.concatenate([[Grade.UNSEEN, Grade.PASSED], self.grades]).astype(np.int8)
        ratings = np.concatenate([[np.nan, np.nan], self.levels]).astype(np.float32)
        return grades, ratings, WORTH[grades]

    @cached_property
    def steps(self) -> FloatArray:
        """The cuts, so that counting those below a joy gives the outcome of what was viewed."""
        return np.concatenate([[-np.inf, -np.inf], self.cuts]).astype(np.float32)


NOISE_AT, USUAL_AT, STAY_AT, MOOD_AT = -4, -3, -2, -1  # the last columns of a session's row
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

    def react(self, page: Page) -> Reaction:
        """Return what the users in `page.seats` do with the page."""
        minds, habits, width = self.minds, self.minds.habits, self.minds.width
        everybody = len(page.seats) == len(self.rows)
        rows = self.rows if everybody else self.rows[page.seats]
        luck = self.luck if everybody else self.luck[page.seats]

        vectors = minds.padded.take(page.items, axis=0, mode="wrap")  # [B, K, D]
        # One small product a user, so that no batch changes another's digits: to view, and joy. [B, K, 2]
        scores = vectors @ rows[:, : 2 * width].reshape(-1, 2, width).transpose(0, 2, 1)
        noise = _noise(minds.bits.take(page.items, mode="wrap"), luck)
        looks = noise[..., 0] < _look_odds(habits.look, page.items.shape[1])
        if not page.full:
            looks &= page.items >= 0
        viewed = looks & (noise[..., 1] < scores[..., 0])
        joy = scores[..., 1] + noise[..., 2] * rows[:, NOISE_AT, None]
        outcome = np.where(viewed, minds.steps.searchsorted(joy), looks)
        grades, ratings, worths = minds.outcomes
        liking = np.tanh(0.5 * scores[..., 0])
        if not page.full:
            liking[page.items < 0] = -1
        weights = _weights(habits.look, page.items.shape[1])
        worth = ((0.25 * liking + worths.take(outcome))[:, None, :] @ weights)[:, 0, 0]
        satisfaction, exits, causes = self._settle(page, rows, luck, worth, weights.T @ vectors)
        if not everybody:
            self.rows[page.seats] = rows
        return Reaction(grades.take(outcome), ratings.take(outcome), satisfaction, exits, causes)

    def _settle(
        self, page: Page, rows: FloatArray, luck: BitArray, worth: FloatArray, met: FloatArray
    ) -> tuple[FloatArray, BoolArray, WordArray]:
        """Let the page work on mood and boredom, in the rows, and let those leave who have had enough."""
        habits, width = self.minds.habits, self.minds.width
        content = np.tanh((0.5 * habits.steepness) * (worth - rows[:, USUAL_AT]))
        mood = habits.mood_memory * rows[:, MOOD_AT] + (1 - habits.mood_memory) * content
        rows[:, MOOD_AT] = mood

        boredom = rows[:, 3 * width : 4 * width]
        alike = (met @ boredom[:, :, None])[:, 0, 0]
        boredom *= habits.boredom_memory
        boredom += met[:, 0, :] * (self.minds.boring * np.float32(1 - habits.boredom_memory))
        rows[:, :width] = rows[:, 2 * width : 3 * width] - habits.boredom * boredom

        tired = habits.tiring * page.number
        urge = rows[:, STAY_AT] - habits.disappointing * mood + habits.boring * alike + tired
        drawn = (PAGE_BITS.take(page.number, mode="wrap") ^ luck) * FIRST
        exits = NOISE.take(drawn >> S48) < urge
        causes = np.full(len(exits), "", dtype=object)
        if exits.any():
            reasons = np.stack([tired, habits.boring * alike, -habits.disappointing * mood])
            causes[exits] = CAUSES[reasons.argmax(axis=0)[exits]]
        return 5.5 + 4.5 * content, exits, causes


def _noise(bits: BitArray, luck: BitArray) -> FloatArray:
    """Return four logistic draws for each item and user: [B, K, 4]."""
    bits ^= luck[:, None]
    bits *= FIRST
    bits ^= bits >> S32
    bits *= SECOND
    return NOISE.take(bits.view(np.uint16).reshape(*bits.shape, 4))


@lru_cache(maxsize=64)
def _look_odds(look: float, size: int) -> FloatArray:
    """Return the log-odds that each place of a page is looked at: [K]."""
    chance = np.minimum(look ** np.arange(size), 1 - 1e-6)
    return np.log(chance / (1 - chance)).astype(np.float32)


@lru_cache(maxsize=64)
def _weights(look: float, size: int) -> FloatArray:
    """Return what each place counts for in a page's worth: [K, 1], in sum 1."""
    looks = look ** np.arange(size)
    return (looks / looks.sum()).astype(np.float32)[:, None]


def usual_worth(items: FloatArray, view: FloatArray, popularity: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return the worth of a page of well-known items for each user [U], half-way to everybody's.

    That is what a user is used to, so an easily pleased user is not simply a satisfied one.
    """
    share = (popularity + 1) / (popularity + 1).sum()
    sample = rng.choice(len(items), size=min(100, len(items)), replace=False, p=share)
    odds = view @ items[sample].T
    worth = (0.25 * np.tanh(0.5 * odds) + 0.3 / (1 + np.exp(-odds))).mean(axis=1)
    return ((worth + worth.mean()) / 2).astype(np.float32)

def fitted(minds: Minds | None, population: object) -> Minds:
    """Return the minds, or say that the population has none yet."""
    if minds is None:
        raise SimenvError(f"{type(population).__name__}: nobody can enter before fit(dataset)")
    return minds
