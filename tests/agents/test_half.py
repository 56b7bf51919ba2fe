"""Users by one half of the rows know nothing of the other half."""

import numpy as np
import pytest

from simenv.agents.choice import ChoicePopulation
from simenv.agents.half import HalfPopulation
from simenv.agents.mixture import Member
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.films import films_world
from simenv.splits import leave_one_out


class Listening:
    """Keeps what it is fitted to."""

    def fit(self, dataset: Dataset) -> None:
        self.dataset = dataset


@pytest.fixture(scope="module")
def train() -> Dataset:
    return leave_one_out(films_world(users=60, items=80).dataset).train


def pairs(dataset: Dataset) -> set[tuple[int, int]]:
    log = dataset.interactions
    return set(zip(log.users.tolist(), log.items.tolist(), strict=True))


def test_the_halves_are_all_rows_and_share_none(train):
    heard = []
    for which in ("first", "second"):
        users = Listening()
        HalfPopulation(of=[Member("those", users)], which=which).fit(train)
        heard.append(pairs(users.dataset))
    first, second = heard
    assert first | second == pairs(train)
    assert not first & second
    assert 0.4 < len(first) / len(first | second) < 0.6


def test_it_reacts_and_judges_as_the_population_does(train):
    half = HalfPopulation(of=[Member("choice", ChoicePopulation())])
    half.fit(train)
    users, items = np.arange(5), np.arange(5)
    luck = np.arange(5, dtype=np.uint64)
    inner = half.of[0].population
    assert np.array_equal(half.judge(users, items, luck).wanted, inner.judge(users, items, luck).wanted)
    assert "first half" in half.facts()["about"]


@pytest.mark.parametrize(("options", "wrong"), [({"of": []}, "takes one"), ({"which": "third"}, "which")])
def test_bad_options_are_told(options, wrong):
    told = {"of": [Member("choice", ChoicePopulation())]} | options
    with pytest.raises(SimenvError, match=wrong):
        HalfPopulation(**told)
