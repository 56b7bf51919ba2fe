"""The battery passes the world's own users, and says what it could not measure."""

import json
from dataclasses import replace

import pytest

from simenv.errors import SimenvError
from simenv.fidelity.battery import TESTS, battery
from simenv.fidelity.bench import Bench
from simenv.fidelity.results import LIMITS, Limit, limits_of
from simenv.intervals import Interval


@pytest.fixture(scope="module")
def found(faithful: Bench):
    return battery(faithful)


def test_the_worlds_own_users_pass_every_test(found):
    assert {one.test: one.word for one in found.results} == dict.fromkeys(TESTS, "pass"), found.note
    assert found.word == "pass"


def test_what_was_found_is_plain_json(found):
    assert json.loads(json.dumps(found.plain(), allow_nan=False))["verdict"] == "pass"


def test_measured_twice_it_is_the_same(faithful: Bench, found):
    assert [one.plain() for one in battery(faithful).results] == [one.plain() for one in found.results]


def test_a_spent_budget_leaves_tests_unmeasured(faithful: Bench):
    found = battery(faithful, most=100)

    assert found.word == "not measured"
    assert "of 100 answers" in found.results[0].note


def test_few_users_tell_nothing(faithful: Bench):
    few = replace(faithful, users=faithful.users[:5], lists={name: one[:5] for name, one in faithful.lists.items()})

    assert battery(few).word == "not measured"


def test_a_figure_fails_only_where_all_of_its_interval_is_bad():
    limit = Limit(good=0.6, bad=0.5)

    assert limit.judge(Interval(0.7, 0.4, 0.9, 10)) == "pass"
    assert limit.judge(Interval(0.4, 0.3, 0.6, 10)) == "warn"
    assert limit.judge(Interval(0.4, 0.3, 0.49, 10)) == "fail"
    assert Limit(good=0.1, bad=0.3).judge(Interval(0.5, 0.4, 0.6, 10)) == "fail"
    assert limit.judge(Interval(float("nan"), 0, 1, 0)) == "not measured"


def test_limits_can_be_set_and_wrong_ones_are_told():
    assert limits_of({"taste.auc": [0.9, 0.8]}) == LIMITS | {"taste.auc": Limit(0.9, 0.8)}
    for wrong, told in (
        ({"tast": [1, 0]}, "no limit 'tast'"),
        ({"taste.auc": [0.5]}, "two numbers"),
        ({"taste.auc": [0.5, 0.9]}, "lies above"),
    ):
        with pytest.raises(SimenvError, match=told):
            limits_of(wrong)


def test_a_limit_out_of_reach_fails_even_the_worlds_own_users(faithful: Bench):
    strict = replace(faithful, limits=limits_of({"taste.auc": [0.99, 0.98]}))

    assert battery(strict, tests=["taste"]).word == "fail"
