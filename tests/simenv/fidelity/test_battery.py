"""The battery passes the world's own users, and says what it could not measure."""

import json
from dataclasses import replace

import numpy as np
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


def test_no_list_is_called_good_where_no_policy_foresees_anything(faithful: Bench):
    drawn = {"guesses": faithful.random_lists("guesses")}
    found = battery(replace(faithful, lists=drawn), tests=["dose", "interference"])

    assert [one.word for one in found.results] == ["not measured"] * 2
    assert "no list is known to be a good one" in found.results[0].note


def test_users_are_fitted_to_other_texts_only_as_often_as_is_worth_it(faithful: Bench):
    once, never = (battery(replace(faithful, refits=times), tests=["cues"]).results[0] for times in (1, 0))

    assert [figure.name for figure in once.figures] == ["decisions changed, titles masked"]
    assert never.word == "not measured"


def test_junk_was_never_met_and_random_items_are_not_of_the_past(faithful: Bench):
    for row, (junk, drawn) in enumerate(zip(faithful.junk, faithful.random_lists("drawn"), strict=True)):
        past = faithful.train.interactions.items[faithful.train.starts[row] : faithful.train.starts[row + 1]]
        assert not set(junk.tolist()) & set(faithful.met[row].tolist())
        assert not set(drawn.tolist()) & set(past.tolist())
        assert len(set(drawn.tolist())) == len(drawn)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_a_list_is_spoilt_by_as_much_as_it_says(faithful: Bench, share: float):
    lists = faithful.lists["pop"]
    spoilt = faithful.spoilt(lists, faithful.junk, share, "test")

    kept = (spoilt == lists).mean()
    assert kept == pytest.approx(1 - share, abs=0.02)
    assert all(len(set(row)) == len(row) for row in spoilt.tolist())
    assert (spoilt >= 0).all(), "an empty place would tell a spoilt list from a whole one"


def test_where_nothing_is_left_to_spoil_with_places_stay_empty(faithful: Bench):
    lists, none = faithful.lists["pop"], np.full_like(faithful.junk, -1)

    assert (faithful.spoilt(lists, none, 0.5, "test") >= 0).mean() == pytest.approx(0.5, abs=0.02)


def test_sessions_of_few_pages_say_nothing_by_their_length(faithful: Bench):
    short = replace(faithful, max_pages=3, lists={name: one[:, :15] for name, one in faithful.lists.items()})
    dose, behaviour = battery(short, tests=["dose", "behaviour"]).results[::-1]

    assert not any(figure.word for figure in dose.figures if figure.name.startswith("pages"))
    assert not any(figure.word for figure in behaviour.figures if "page limit" in figure.name)
    assert {dose.word, behaviour.word} == {"pass"}, (dose.note, behaviour.note)


def test_the_best_policy_may_be_known_by_more_users_than_are_asked(faithful: Bench):
    assert replace(faithful, known_base="pop").base == "pop"
    assert faithful.base in ("item-knn", "ease")
