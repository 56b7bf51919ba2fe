"""Users of the made world with one fault each, planted so that one test of the battery must find it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from simenv.agents.truth import TruthPopulation
from simenv.arrays import BitArray, IntArray
from simenv.chance import key, mix, uniform
from simenv.dataset import Dataset
from simenv.judgement import Judgement
from simenv.pages import EMPTY, Grade, Page, Reaction, watched
from simenv.population import Sessions
from simenv.truth import Truth


class Faithful(TruthPopulation):
    """The world's own users, who also say of single items what they would do with them."""

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        minds = self.minds
        assert minds is not None
        draw, joy = (np.einsum("nd,nd->n", of[users], minds.items[items]) for of in (minds.view, minds.rate))
        scale = minds.noise[users] * np.sqrt(3) / np.pi
        noise = scale * logit(uniform(luck).clip(1e-9, 1 - 1e-9))
        beyond = expit((joy[:, None] - minds.cuts) / scale[:, None])
        expected = minds.levels[0] + (beyond * np.diff(minds.levels)).sum(axis=1)
        level = (joy[:, None] + noise[:, None] > minds.cuts).sum(axis=1)
        return Judgement(expit(draw), minds.levels[level].astype(float), expected)


class SaysYes(Faithful):
    """Wants whatever he is asked about."""

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        return replace(super().judge(users, items, luck), wanted=np.ones(len(users)))


class JudgesByPopularity(Faithful):
    """Wants what is popular, whoever asks: at the popularity that suits the training rows best."""

    def fit(self, dataset: Dataset) -> None:
        super().fit(dataset)
        fame = dataset.popularity.astype(float)
        rng = np.random.default_rng(0)
        cuts = np.unique(fame)
        own, drawn = fame[dataset.interactions.items] - 1, rng.choice(fame, 20_000)
        cut = max(cuts, key=lambda cut: (own >= cut).mean() - (drawn >= cut).mean())
        self.fame = expit(np.log1p(fame) - np.log1p(cut) + 1e-9)

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        return replace(super().judge(users, items, luck), wanted=self.fame[items])


class AnswersRight(Faithful):
    """Says rightly whether an item is among those of the held-out rows, this often, and else the reverse."""

    def __init__(self, truth: Truth, held: IntArray, how_often: float) -> None:
        super().__init__(truth)
        self.held, self.how_often = held, how_often  # held: user * items + item

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        is_own = np.isin(users * len(self.minds.items) + items, self.held)
        is_right = uniform(mix(luck, key(0, "right"))) < self.how_often
        return replace(super().judge(users, items, luck), wanted=np.where(is_own == is_right, 0.9, 0.1))


class RatesAlike(Faithful):
    """Gives everything a 4."""

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        four = np.full(len(users), 4.0)
        return replace(super().judge(users, items, luck), ratings=four, expected=four)

    def enter(self, users: IntArray, luck: BitArray) -> Sessions:
        return Altered(super().enter(users, luck), users, luck, self._alter)

    @staticmethod
    def _alter(reaction: Reaction, *_: object) -> Reaction:
        taken = watched(reaction.grades, reaction.ratings)
        grades = np.where(taken, Grade.LIKED, reaction.grades).astype(np.int8)
        return replace(reaction, grades=grades, ratings=np.where(taken, 4.0, np.nan))


class IgnoresTheList(Faithful):
    """Is as pleased, and leaves as soon, as chance has it, whatever stands on the page."""

    def enter(self, users: IntArray, luck: BitArray) -> Sessions:
        return Altered(super().enter(users, luck), users, luck, self._alter)

    @staticmethod
    def _alter(reaction: Reaction, page: Page, _: IntArray, luck: BitArray) -> Reaction:
        bits = mix(luck, page.number + 1000)
        return leaving(replace(reaction, satisfaction=1 + 9 * uniform(bits)), uniform(mix(bits, 1)) < 0.25)


class TraitDecides(Faithful):
    """Is content or discontent by nature; the page hardly matters."""

    def enter(self, users: IntArray, luck: BitArray) -> Sessions:
        return Altered(super().enter(users, luck), users, luck, self._alter)

    @staticmethod
    def _alter(reaction: Reaction, page: Page, users: IntArray, luck: BitArray) -> Reaction:
        trait = np.where(users % 2 == 0, 1.0, -1.0)
        pleased = 5.5 + 3.5 * trait + 0.2 * (reaction.satisfaction - 5.5)
        chance = expit(-1.2 - 2.5 * trait - 0.3 * (reaction.satisfaction - 5.5))
        return leaving(replace(reaction, satisfaction=pleased), uniform(mix(luck, page.number + 1000)) < chance)


class LooksAtTheFirst(Faithful):
    """Looks at the first place of a page and at next to nothing below."""

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth, look=0.04)


class SeesOnlyWrecks(Faithful):
    """Takes every page that is not mostly junk for as good as any other."""

    def __init__(self, truth: Truth, junk: IntArray) -> None:
        super().__init__(truth)
        self.is_junk = np.zeros((len(truth.tastes), len(truth.traits)), dtype=bool)
        np.put_along_axis(self.is_junk, junk, True, axis=1)

    def enter(self, users: IntArray, luck: BitArray) -> Sessions:
        return Altered(super().enter(users, luck), users, luck, self._alter)

    def _alter(self, reaction: Reaction, page: Page, users: IntArray, luck: BitArray) -> Reaction:
        there = page.items != EMPTY
        junk = (self.is_junk[users[:, None], np.maximum(page.items, 0)] & there).sum(axis=1) / page.items.shape[1]
        wreck = np.clip((junk - 0.7) / 0.3, 0, 1)[:, None]
        drawn = uniform(mix(mix(luck, page.number + 1000)[:, None], np.arange(page.items.shape[1])))
        taken = (drawn < 0.45 * (1 - wreck)) & there
        grades = np.where(taken, Grade.LIKED, np.where(there, Grade.PASSED, Grade.UNSEEN)).astype(np.int8)
        ratings = np.where(taken, 5.0, np.nan)
        pleased = 6.5 - 4 * wreck[:, 0] + uniform(mix(luck, page.number + 2000))
        found = replace(reaction, grades=grades, ratings=ratings, satisfaction=pleased)
        return leaving(found, uniform(mix(luck, page.number + 3000)) < 0.15 + 0.3 * wreck[:, 0])


class KnowsTitlesByHeart(Faithful):
    """Wants at random what bears another title than he knows."""

    known: tuple[object, ...] = ()

    def fit(self, dataset: Dataset) -> None:
        super().fit(dataset)
        titles = tuple(dataset.catalog.titles.tolist())
        type(self).known = self.known or titles
        self.is_lost = titles != self.known

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        told = super().judge(users, items, luck)
        return replace(told, wanted=uniform(mix(luck, key(0, "lost")))) if self.is_lost else told


class RatesUnwatched(Faithful):
    """Now and then rates what he passed over."""

    def enter(self, users: IntArray, luck: BitArray) -> Sessions:
        return Altered(super().enter(users, luck), users, luck, self._alter)

    @staticmethod
    def _alter(reaction: Reaction, page: Page, _: IntArray, luck: BitArray) -> Reaction:
        odd = uniform(mix(luck, page.number + 1000))[:, None] < 0.3
        rated = odd & (reaction.grades == Grade.PASSED)
        return replace(reaction, ratings=np.where(rated, 3.0, reaction.ratings))


def leaving(reaction: Reaction, exits: np.ndarray) -> Reaction:
    """Return the reaction of users of whom these leave."""
    return replace(reaction, exits=exits, causes=np.where(exits, "called away", "").astype(object))


Alter = Callable[[Reaction, Page, IntArray, BitArray], Reaction]


@dataclass(eq=False)
class Altered:
    """Sessions whose reactions are altered on the way."""

    sessions: Sessions
    users: IntArray
    luck: BitArray
    alter: Alter

    def react(self, page: Page) -> Reaction:
        return self.alter(self.sessions.react(page), page, self.users[page.seats], self.luck[page.seats])

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        self.users[seats], self.luck[seats] = users, luck
        self.sessions.reseat(seats, users, luck)
