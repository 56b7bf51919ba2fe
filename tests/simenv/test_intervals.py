"""Intervals hold what they promise, and p-values are those of the coins."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simenv.intervals import around, benjamini_hochberg, differences, holm, means, paired


def test_a_bootstrap_interval_is_near_scipys():
    values = np.random.default_rng(0).normal(size=300)
    found = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", random_state=0)
    wanted = found.confidence_interval

    found = means(values[:, None])[0]

    error = values.std() / math.sqrt(300)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(wanted.low, abs=0.15 * error)
    assert found.high == pytest.approx(wanted.high, abs=0.15 * error)


@pytest.mark.parametrize("n", [8, 40])
def test_nineteen_of_twenty_intervals_hold_the_mean(n: int):
    samples = np.random.default_rng(n).normal(3, 2, size=(n, 1000))
    share = np.mean([one.low <= 3 <= one.high for one in means(samples)])
    assert 0.93 <= share <= 0.97


@pytest.mark.parametrize("draw", ["few have most", "two long tails"])
def test_twenty_users_of_whom_few_decide_are_enough(draw: str):
    rng = np.random.default_rng(3)
    samples = rng.negative_binomial(0.8, 0.25, size=(20, 2000)).astype(float)
    if draw == "two long tails":
        taste = rng.gamma(0.8, 3.0, size=(20, 2000))
        samples = 2.4 + rng.poisson(taste) - rng.poisson(taste)
    share = np.mean([one.low <= 2.4 <= one.high for one in means(samples)])
    assert share >= 0.93


def test_unknown_values_count_for_no_user():
    values = np.array([[1.0, math.nan], [3.0, 5.0], [math.nan, 7.0], [2.0, math.nan]])
    one, other = means(values)
    assert (one.mean, one.n) == (2, 3)
    assert (other.mean, other.n) == (6, 2)


@pytest.mark.parametrize("values", [[[4.0]], [[4.0], [math.nan]]])
def test_one_user_has_a_mean_and_no_interval(values: list):
    found = means(np.array(values))[0]
    assert (found.mean, found.n) == (4, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_nobody_has_neither():
    for values in (np.empty((0, 1)), np.full((3, 1), math.nan)):
        found = means(values)[0]
        assert found.n == 0
        assert math.isnan(found.mean)


def test_users_who_are_all_alike_have_no_spread():
    found = means(np.full((10, 1), 2.5))[0]
    assert (found.low, found.mean, found.high) == (2.5, 2.5, 2.5)


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(0).normal(size=(50, 2))
    assert means(values) == means(values)


def test_five_of_five_heads_is_two_in_thirty_two():
    found = paired(np.full(5, 2.0), np.full(5, 1.0))
    assert found.mean == 1
    assert found.p == pytest.approx(2 / 32, abs=0.01)


def test_no_difference_is_no_surprise():
    assert paired(np.arange(5.0), np.arange(5.0)).p == 1


def test_a_p_value_is_that_of_all_sign_flips():
    gaps = np.array([0.5, -0.2, 1.1, 0.4, 0.9, -0.1, 0.3, 0.8])
    exact = stats.permutation_test(
        (gaps, np.zeros(8)), lambda one, other: np.mean(one - other), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert differences(gaps[:, None])[0].p == pytest.approx(exact, abs=0.01)


def test_without_a_difference_p_is_as_often_low_as_high():
    gaps = np.random.default_rng(0).normal(size=(30, 500))
    chances = np.array([one.p for one in differences(gaps)])
    assert (chances < 0.05).mean() == pytest.approx(0.05, abs=0.03)
    assert chances.mean() == pytest.approx(0.5, abs=0.05)


def test_a_difference_and_its_opposite_are_as_likely():
    gaps = np.random.default_rng(0).normal(0.3, 1, size=(20, 1))
    one, other = differences(gaps)[0], differences(-gaps)[0]
    assert one.p == other.p
    assert one.mean == -other.mean


def test_unknown_differences_leave_no_p():
    assert math.isnan(differences(np.full((4, 1), math.nan))[0].p)


@pytest.mark.parametrize(
    ("chances", "wanted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.2], [0.2]),
        ([0.9, 0.8], [1, 1]),
        ([0.01, math.nan, 0.03], [0.02, math.nan, 0.03]),
        ([], []),
    ],
)
def test_holm_steps_down(chances: list[float], wanted: list[float]):
    assert holm(chances) == pytest.approx(wanted, nan_ok=True)


def test_an_interval_around_an_estimate_stays_in_bounds():
    found = around(0.99, np.linspace(0.5, 1.0, 200), 40, (0, 1))
    assert found.low < 0.99 < found.high == 1


def test_one_user_has_no_interval_around_an_estimate():
    assert math.isnan(around(0.5, np.array([0.4, 0.6]), 1, (0, 1)).low)


@pytest.mark.parametrize(
    ("chances", "wanted"),
    [
        ([0.01, 0.02, 0.03, 0.04], [0.04] * 4),
        ([0.001, 0.5, 0.04], [0.003, 0.5, 0.06]),
        ([0.9, math.nan, 0.01], [0.9, math.nan, 0.02]),
        ([], []),
    ],
)
def test_benjamini_and_hochberg_step_up(chances: list[float], wanted: list[float]):
    assert benjamini_hochberg(chances) == pytest.approx(wanted, nan_ok=True)


def test_one_odd_user_does_not_set_an_end_in_the_millions():
    (found,) = means(np.array([[5.0] * 29 + [4.0]]).T)
    assert 4.5 < found.low < found.mean < found.high <= 5.2
    rare = np.zeros((30, 1))
    rare[3] = 1 / 3
    (found,) = means(rare, bounds=[(0.0, 1.0)])
    assert 0 <= found.low <= found.mean < found.high < 0.2


columns = st.one_of(
    st.tuples(st.integers(2, 40), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)).map(
        lambda t: [t[1]] * (t[0] - 1) + [t[2]]
    ),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=40),
    st.lists(st.floats(0, 10), min_size=2, max_size=6),
    st.tuples(st.floats(-10, 10), st.lists(st.floats(-1e-9, 1e-9), min_size=2, max_size=30)).map(
        lambda t: [t[0] + one for one in t[1]]
    ),
)


@settings(max_examples=60, deadline=None)
@given(columns)
def test_ends_are_finite_near_and_on_their_sides(column: list[float]):
    values = np.array(column)[:, None]
    (found,) = means(values)
    reach = np.ptp(values) + 1e-9 * (1 + np.abs(values).max())
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
    assert found.low <= found.mean + reach * 1e-9
    assert found.mean <= found.high + reach * 1e-9
    assert values.min() - 3 * reach <= found.low
    assert found.high <= values.max() + 3 * reach


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.floats(0.1, 100), st.floats(-5, 5))
def test_an_interval_moves_and_grows_with_its_values(column: list[float], scale: float, shift: float):
    values = np.array(column)[:, None]
    (one,), (other,) = means(values), means(values * scale + shift)
    assert [other.low, other.high] == pytest.approx([one.low * scale + shift, one.high * scale + shift], abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_no_end_lies_outside_what_the_metric_can_be(column: list[float]):
    (found,) = means(np.array(column)[:, None], bounds=[(0.0, 1.0)])
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_a_clear_difference_holds_however_many_are_compared():
    values = np.random.default_rng(0).normal(0, 1, size=(40, 600))
    values[:, 7] += 5
    corrected = holm([one.p for one in differences(values)])
    assert corrected[7] < 0.05
    assert sum(one < 0.05 for one in corrected) == 1
