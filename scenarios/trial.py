"""Policies and users of somebody's own code, tried before a few users while nothing long has begun."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from simenv.arrays import BitArray, IntArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.errors import PopulationError, SimenvError, blame
from simenv.loop import PageLoop
from simenv.pages import Grade, Page, Reaction
from simenv.play import turns
from simenv.policy import Policy
from simenv.population import Closing, Population

from .names import build
from .scenario import NamedPolicy, Scenario
from .steps import Step, Watcher

LOG = logging.getLogger(__name__)
USERS = 4  # before whom each is tried
KNOWN = 100  # users whose rows it is fitted to first
PAGES = 2


def try_policies(
    policies: list[NamedPolicy],
    train: Dataset,
    users: IntArray,
    gifts: Mapping[str, object],
    *,
    page_size: int,
    watch: Watcher = lambda _: None,
) -> None:
    """Raise what policies of somebody's own do wrong before a few users, in seconds.

    Each is made once more and fitted to the rows of a hundred users. One that cannot do with so few is fitted to all
    rows before it is refused.
    """
    for chosen in policies:
        made = build("policy", chosen.name, chosen.options, gifts)
        watch(Step(f"trying {chosen.label}", 0, 1, "policies"))

        def meet(some: Dataset, policy: Policy = made, label: str = f"policy '{chosen.label}'") -> None:
            with blame(label, "fit"):
                policy.fit(some)
            loop = PageLoop(some, Indifferent(), page_size=page_size, max_pages=PAGES)
            for _ in turns(loop, policy, users[:USERS], 0, label):
                pass

        _try(meet, train, users)


def try_population(
    scenario: Scenario,
    train: Dataset,
    users: IntArray,
    gifts: Mapping[str, object],
    watch: Watcher = lambda _: None,
) -> None:
    """Raise what users of somebody's own do wrong with a few pages."""
    chosen = scenario.population
    population: Population = build("population", chosen.name, chosen.options, gifts)
    try:
        watch(Step("trying the users", 0, 1, "populations"))
        who = f"population '{chosen.name}'"

        def meet(some: Dataset) -> None:
            with blame(who, "fit"):
                population.fit(some)
            policy = Aimless()
            policy.fit(some)
            loop = PageLoop(some, population, page_size=scenario.page_size, max_pages=PAGES)
            try:
                for _ in turns(loop, policy, users[:USERS], 0, who):
                    pass
            except PopulationError as error:
                raise PopulationError(f"{who}: {error}") from error

        _try(meet, train, users)
    finally:
        if isinstance(population, Closing):
            population.close()


def is_own(made: object) -> bool:
    """Tell whether a policy or population, or one that it is made of, is no code of simenv's."""
    if type(made).__module__.partition(".")[0] != "simenv":
        return True
    return any(is_own(member.population) for member in getattr(made, "of", ()) if hasattr(member, "population"))


def _try(meet: Callable[[Dataset], None], train: Dataset, users: IntArray) -> None:
    log = train.interactions
    few = train.only(log[np.isin(log.users, users[:KNOWN])])
    try:
        meet(few)
    except SimenvError as error:
        if len(few.interactions) == len(log):
            raise
        LOG.info("tried with the rows of %d users: %s; once more with all rows", KNOWN, error)
        meet(train)


class Indifferent:
    """Users who pass over everything and stay."""

    def fit(self, dataset: Dataset) -> None:
        """Nothing is learnt."""

    def enter(self, users: IntArray, luck: BitArray) -> "Indifferent":  # noqa: ARG002
        """Seat these users."""
        return self

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Nothing is kept of anybody."""

    def react(self, page: Page) -> Reaction:
        """Return that all was passed over."""
        rows, shape = len(page.users), page.items.shape
        grades = np.where(page.items >= 0, np.int8(Grade.PASSED), np.int8(Grade.UNSEEN))
        stays, causes = np.zeros(rows, dtype=bool), np.full(rows, "", dtype=object)
        return Reaction(grades, np.full(shape, np.nan), np.full(rows, 5.0), stays, causes)


class Aimless:
    """Shows any items."""

    def fit(self, dataset: Dataset) -> None:
        """Learn how many there are."""
        self.items = len(dataset.catalog)

    def recommend(self, context: Any, k: int) -> IntArray:
        """Return any items that the users have not met."""
        scores = stream(0, "trial").random((len(context), self.items))
        found: IntArray = context.top(scores, k)
        return found
