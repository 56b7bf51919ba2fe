"""A bench in a small world of films, and users with known faults to put on it."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from simenv.agents.truth import TruthPopulation
from simenv.dataset import Dataset
from simenv.fidelity.bench import Bench, lists_of
from simenv.films import World, films_world
from simenv.population import Population
from simenv.recommenders.ease import Ease
from simenv.recommenders.item_knn import ItemKNN
from simenv.recommenders.pop import Pop
from simenv.splits import Split, leave_one_out

PAGE, PAGES = 5, 8
MakeBench = Callable[[Callable[[], Population]], Bench]


@lru_cache
def stage() -> tuple[World, Split, dict[str, np.ndarray]]:
    """Two hundred users, four hundred films, and what three policies would show each of them."""
    world = films_world(users=200, items=400)
    split = leave_one_out(world.dataset)
    users = np.arange(200)
    lists = {}
    for name, policy in (("pop", Pop()), ("item-knn", ItemKNN()), ("ease", Ease())):
        policy.fit(split.train)
        lists[name] = lists_of(policy, split.train, users, PAGE * PAGES)
    return world, split, lists


@pytest.fixture(scope="session")
def on_bench() -> MakeBench:
    """Return a maker of benches for populations that a function makes."""

    def put(make: Callable[[], Population]) -> Bench:
        _, split, lists = stage()

        def refit(dataset: Dataset) -> Population:
            population = make()
            population.fit(dataset)
            return population

        users = np.arange(200)
        return Bench(refit(split.train), split, users, lists, page_size=PAGE, max_pages=PAGES, refit=refit)

    return put


@pytest.fixture(scope="session")
def faithful(on_bench: MakeBench) -> Bench:
    """The world's own users."""
    return on_bench(lambda: TruthPopulation(stage()[0].truth))


@pytest.fixture(scope="session")
def world_on_bench() -> World:
    """The world that the bench stands in."""
    return stage()[0]
