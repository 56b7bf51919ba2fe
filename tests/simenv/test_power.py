"""What a run can see follows from how much users differ and how much luck does."""

import math

import numpy as np
import pytest

from simenv.errors import SimenvError
from simenv.intervals import differences
from simenv.power import detectable, fewest_users, noise, users_needed


def gaps(users: int, seeds: int, between: float, within: float, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    own = rng.normal(shift, between**0.5, size=(users, 1))
    return own + rng.normal(0, within**0.5, size=(users, seeds))


@pytest.mark.parametrize(("between", "within"), [(4.0, 1.0), (0.5, 6.0), (0.0, 2.0)])
def test_variance_between_users_is_told_from_that_of_their_luck(between: float, within: float):
    found = noise(gaps(4000, 4, between, within))
    assert found.between == pytest.approx(between, rel=0.1, abs=0.1)
    assert found.within == pytest.approx(within, rel=0.1)
    assert found.variance(10) == pytest.approx(found.between + found.within / 10)


def test_one_seed_hides_what_luck_does_and_holes_are_left_out():
    once = noise(gaps(500, 1, 2.0, 3.0))
    assert math.isnan(once.within)
    assert once.variance(1) == once.variance(5) == pytest.approx(5.0, rel=0.2)
    holed = gaps(3000, 3, 2.0, 3.0)
    holed[np.random.default_rng(1).random(holed.shape) < 0.3] = np.nan
    found = noise(holed)
    assert (found.between, found.within) == (pytest.approx(2.0, rel=0.15), pytest.approx(3.0, rel=0.1))
    with pytest.raises(SimenvError, match="1 users met both policies"):
        noise(np.array([[1.0], [np.nan]]))


def test_what_is_planned_for_can_be_seen_and_a_difference_that_can_be_seen_is_planned_for():
    needed = users_needed(9.0, 0.5, comparisons=6)
    assert detectable(9.0, needed, comparisons=6) <= 0.5 < detectable(9.0, needed - 1, comparisons=6)
    assert users_needed(9.0, 0.25, comparisons=6) == pytest.approx(4 * needed, rel=0.01)
    assert users_needed(0.0, 0.5) == 6  # five users' signs can be flipped in 32 ways: p is 2 / 32 at least
    assert users_needed(9.0, 0.5, comparisons=6) > users_needed(9.0, 0.5) > users_needed(9.0, 0.5, power=0.5)


def test_the_planned_number_of_users_sees_the_difference_as_often_as_promised():
    users = users_needed(5.0, 0.4)
    seen = 0
    for seed in range(400):
        values = gaps(users, 1, 4.0, 1.0, shift=0.4, seed=seed)[:, 0]
        seen += abs(values.mean()) > 1.96 * values.std(ddof=1) / users**0.5
    assert 0.74 < seen / 400 < 0.86


@pytest.mark.parametrize("comparisons", [1, 12, 60])
def test_no_plan_names_fewer_users_than_can_reach_the_level(comparisons: int):
    users = fewest_users(comparisons)
    constant = [differences(np.ones((count, 1)))[0].p for count in (users - 1, users)]
    assert constant[1] < 0.05 / comparisons + 2e-4
    assert constant[0] > 0.05 / comparisons
    assert users_needed(1e-6, 1.0, comparisons=comparisons) == users
    assert fewest_users(comparisons, differing=0.5) == 2 * users
    assert math.isnan(detectable(1.0, users - 1, comparisons=comparisons))


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
def test_few_users_see_a_large_difference_as_often_as_promised(shift: float):
    users = users_needed(1.0, shift)
    seen = [differences(gaps(users, 1, 0.5, 0.5, shift=shift, seed=seed))[0].p < 0.05 for seed in range(200)]
    assert np.mean(seen) > 0.75


@pytest.mark.parametrize(("difference", "power"), [(0.0, 0.8), (-1.0, 0.8), (math.nan, 0.8), (0.5, 1.0)])
def test_what_cannot_be_planned_for_is_told(difference: float, power: float):
    with pytest.raises(SimenvError):
        users_needed(1.0, difference, power=power)
