"""What users say of single items: calibrated, drawn on the log's scale, each pair by itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simenv.agents.choice import ChoicePopulation
from simenv.agents.truth import TruthPopulation
from simenv.agents.voters import VotersPopulation
from simenv.arrays import IntArray
from simenv.chance import key, mix
from simenv.films import World, films_world
from simenv.judgement import Judgement
from simenv.population import Judging
from simenv.splits import leave_one_out

WORLD = films_world(users=300, items=300)
MAKERS: dict[str, Callable[[World], Any]] = {
    "choice": lambda _: ChoicePopulation(),
    "voters": lambda _: VotersPopulation(),
    "weighed voters": lambda _: VotersPopulation(rule="weights"),
    "truth": lambda world: TruthPopulation(world.truth),
}


@pytest.fixture(scope="module", params=MAKERS)
def population(request: pytest.FixtureRequest) -> Judging:
    made = MAKERS[request.param](WORLD)
    made.fit(leave_one_out(WORLD.dataset).train)
    assert isinstance(made, Judging)
    return made


def judged(population: Judging, users: IntArray, items: IntArray) -> Judgement:
    return population.judge(users, items, mix(mix(key(0, "test"), users), items))


def own_and_others() -> tuple[IntArray, IntArray, IntArray]:
    """Return users, the items they chose last, and for each an item drawn blindly."""
    split = leave_one_out(WORLD.dataset)
    users = np.concatenate([split.test.users, split.valid.users])
    return (
        users,
        np.concatenate([split.test.items, split.valid.items]),
        np.random.default_rng(0).integers(300, size=600),
    )


def test_a_yes_parts_own_items_from_others(population: Judging):
    users, own, others = own_and_others()
    true, false = (judged(population, users, items).chosen.mean() for items in (own, others))

    assert (true + 1 - false) / 2 > 0.6
    assert 0.4 < true < 0.9
    assert 0.1 < false < 0.5


def test_another_users_judgement_is_another(population: Judging):
    """Handing users' items to each other changes what is wanted, and makes it worse."""
    users, own, _ = own_and_others()
    mine, theirs = judged(population, users, own).wanted, judged(population, np.roll(users, 1), own).wanted

    assert (mine != theirs).mean() > 0.9
    assert mine.mean() > theirs.mean()


def test_ratings_are_of_all_levels_and_as_expected(population: Judging):
    log = leave_one_out(WORLD.dataset).train.interactions
    found = judged(population, log.users, log.items)

    assert set(found.ratings.tolist()) == {1, 2, 3, 4, 5}
    assert found.ratings.mean() == pytest.approx(found.expected.mean(), abs=0.05)
    assert found.ratings.mean() == pytest.approx(log.ratings.mean(), abs=0.15)
    assert np.corrcoef(found.expected, log.ratings)[0, 1] > 0.3


def test_a_pair_is_judged_alike_in_any_company(population: Judging):
    users, own, _ = own_and_others()
    together = judged(population, users, own)
    for part in (slice(0, 1), slice(5, 50), slice(None, None, -1)):
        alone = judged(population, users[part], own[part])
        for name in ("wanted", "ratings", "expected"):
            assert np.array_equal(getattr(alone, name), getattr(together, name)[part])
