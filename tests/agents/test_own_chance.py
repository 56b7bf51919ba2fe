"""Given the user and the item, what users of one kind do by chance tells nothing of another kind."""

import numpy as np
import pytest

from simenv.agents.choice import ChoicePopulation
from simenv.agents.half import HalfPopulation
from simenv.agents.mixture import Member
from simenv.agents.voters import VotersPopulation
from simenv.dataset import Dataset
from simenv.films import films_world
from simenv.loop import luck_of
from simenv.pages import Page
from simenv.population import Population
from simenv.splits import leave_one_out

SEEDS = 40


@pytest.fixture(scope="module")
def train() -> Dataset:
    return leave_one_out(films_world(users=150, items=100).dataset).train


def grades_of(population: Population, train: Dataset) -> np.ndarray:
    """Return the grades that users give the same page under many seeds: [seeds, users, items]."""
    population.fit(train)
    users = np.arange(150, dtype=np.int32)
    items = np.stack([np.random.default_rng(user).permutation(100)[:8] for user in users]).astype(np.int32)
    page = Page(users, users, np.zeros(150, dtype=np.int32), items)
    return np.stack([population.enter(users, luck_of(seed, users)).react(page).grades for seed in range(SEEDS)])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return how the grades of two kinds go together once each user's usual grade of each item is taken off."""
    first, second = (grades - grades.mean(axis=0) for grades in (one.astype(float), other.astype(float)))
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


KINDS = {
    "choice": lambda: ChoicePopulation(),
    "voters": lambda: VotersPopulation(),
    "first half": lambda: HalfPopulation(of=[Member("choice", ChoicePopulation())], which="first"),
    "second half": lambda: HalfPopulation(of=[Member("choice", ChoicePopulation())], which="second"),
    "second half of voters": lambda: HalfPopulation(of=[Member("voters", VotersPopulation())], which="second"),
}


@pytest.fixture(scope="module")
def grades(train: Dataset) -> dict[str, np.ndarray]:
    return {name: grades_of(make(), train) for name, make in KINDS.items()}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("choice", "voters"),
        ("choice", "first half"),
        ("first half", "second half"),
        ("first half", "second half of voters"),
        ("voters", "second half of voters"),
    ],
)
def test_kinds_of_users_share_no_chance(grades: dict[str, np.ndarray], one: str, other: str):
    assert abs(correlation(grades[one], grades[other])) < 0.03


def test_the_same_kind_with_the_same_seed_does(grades: dict[str, np.ndarray], train: Dataset):
    assert correlation(grades["choice"], grades_of(ChoicePopulation(patience=0.4), train)) > 0.5
