"""Users who are known by one half of the training rows alone, so that others can be known by the other half."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from simenv.arrays import BitArray, IntArray
from simenv.chance import key, mix, uniform
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.judgement import Judgement
from simenv.options import check_choice, check_whole
from simenv.pages import Page, Reaction
from simenv.population import AnsweredBy, Sessions, Telling, answered_by, judging
from simenv.store import Arrays, savable
from simenv.training import Trainable, Training

from .mixture import Member


class HalfPopulation:
    """Fits another population to the first or the second half of the training rows, drawn row by row.

    Who teaches a policy and who grades it can so be of different rows, besides being of different kinds: what the one
    believes by chance the other does not.
    """

    def __init__(self, *, of: Sequence[Member], which: Literal["first", "second"] = "first", seed: int = 0) -> None:
        if len(of) != 1:
            raise SimenvError(f"half: `of` names {len(of)} populations; it takes one, such as of: [choice]")
        check_choice(("first", "second"), which=which)
        check_whole(least=0, seed=seed)
        self.of, self.which, self.seed = tuple(of), which, seed

    def fit(self, dataset: Dataset) -> None:
        """Fit the population to its half."""
        self.train(dataset, Training())

    def train(self, dataset: Dataset, training: Training) -> None:
        """Fit the population to its half, and let it be watched if it learns by epochs."""
        log = dataset.interactions
        drawn = uniform(mix(mix(key(self.seed, "half"), log.users), log.items)) < 0.5
        rows = drawn if self.which == "first" else ~drawn
        half, population = replace(dataset.only(log[rows]), name=dataset.name), self.of[0].population
        if isinstance(population, Trainable):
            population.train(half, training)
        else:
            population.fit(half)

    def state(self) -> Arrays:
        """Return what the population learnt."""
        return savable(self.of[0].population, self.of[0].label).state()

    def restore(self, arrays: Arrays) -> None:
        """Be as the population was whose state this is."""
        savable(self.of[0].population, self.of[0].label).restore(arrays)

    def enter(self, users: IntArray, luck: BitArray) -> Sessions:
        """Seat these users in this order."""
        return HalfSessions(self, users, luck)

    def own_chance(self, luck: BitArray) -> BitArray:
        """Return these users' bits: none that users of the other half, or of all rows, draw from."""
        return mix(luck ^ key(self.seed, "half", self.which), 0)

    @property
    def able_to_judge(self) -> bool:
        """Whether these users say of single items what they would do with them."""
        return judging(self.of[0].population) is not None

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        """Return what each user would do with the item beside him."""
        population = judging(self.of[0].population)
        if population is None:
            raise SimenvError(f"half: the users of '{self.of[0].label}' cannot be asked about single items")
        return population.judge(users, items, self.own_chance(luck))

    @property
    def answered_by(self) -> AnsweredBy:
        """What the reactions of the population that it fits come from."""
        return answered_by(self.of[0].population)

    def facts(self) -> Mapping[str, Any]:
        """Return who they are, and by which rows."""
        member = self.of[0]
        told = dict(member.population.facts()) if isinstance(member.population, Telling) else {}
        about = f"{member.label}, known by the {self.which} half of the rows"
        return {"about": about, "which": self.which, member.label: told}


class HalfSessions:
    """Sessions of users known by one half, with chance of their own."""

    def __init__(self, population: HalfPopulation, users: IntArray, luck: BitArray) -> None:
        self.population = population
        self.sessions: Sessions = population.of[0].population.enter(users, population.own_chance(luck))

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Let these users begin a session in seats that others have left."""
        self.sessions.reseat(seats, users, self.population.own_chance(luck))

    def react(self, page: Page) -> Reaction:
        """Return what the users in `page.seats` do with the page."""
        return self.sessions.react(page)
