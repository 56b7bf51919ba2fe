"""Popularity and two means stand beside taste and ratings, and users who do no better do not pass."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from simenv.agents.choice import ChoicePopulation
from simenv.agents.rating import level_users
from simenv.arrays import BitArray, IntArray
from simenv.dataset import Dataset
from simenv.fidelity.bench import Bench
from simenv.fidelity.ratings import ratings
from simenv.fidelity.results import Result, limits_of
from simenv.fidelity.rivals import TWO_MEANS, best_threshold, rivals_of, two_means
from simenv.fidelity.taste import taste, trial_of
from simenv.films import World, films_world
from simenv.interactions import Interactions
from simenv.judgement import Judgement
from simenv.population import Population

MakeBench = Callable[[Callable[[], Population]], Bench]


def planted() -> ModuleType:
    spec = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def value(result: Result, name: str) -> float:
    (found,) = [one.value.mean for one in result.figures if one.name == name]
    return found


def word(result: Result, name: str) -> str:
    (found,) = [one.word for one in result.figures if one.name == name]
    return found


def test_users_who_judge_by_popularity_alone_do_not_pass(on_bench: MakeBench, world_on_bench: World):
    found = taste(on_bench(lambda: planted().JudgesByPopularity(world_on_bench.truth)))

    assert found.word != "pass"
    assert value(found, "AUC for each user less that of popularity, random items") == pytest.approx(0, abs=1e-9)
    assert word(found, "AUC for each user less that of popularity, random items") == "warn"


def test_users_right_in_68_of_100_answers_get_a_warning(on_bench: MakeBench, faithful: Bench, world_on_bench: World):
    log = faithful.held_out
    held = log.users * len(faithful.train.catalog) + log.items
    found = taste(on_bench(lambda: planted().AnswersRight(world_on_bench.truth, held, 0.68)))

    assert value(found, "balanced accuracy, 1:1") == pytest.approx(0.68, abs=0.03)
    assert word(found, "balanced accuracy, 1:1") == "warn"
    assert found.word == "warn", found.note


def test_popularity_beside_is_scored_on_the_same_cases(faithful: Bench):
    trial, found = trial_of(faithful), taste(faithful)
    items = np.hstack([trial.items[:, None], trial.strangers])
    is_own = np.broadcast_to(np.arange(10) == 0, items.shape)
    by_hand = roc_auc_score(is_own.ravel(), faithful.train.popularity[items].ravel())

    assert value(found, "pooled AUC of popularity, random items") == pytest.approx(by_hand)


def test_two_means_beside_ratings_are_fitted_to_training_rows(faithful: Bench):
    found, log = ratings(faithful), faithful.held_out
    train = faithful.train.interactions
    middle = train.ratings.mean(dtype=float)

    def mean_of(of: np.ndarray, which: int) -> float:
        mine = train.ratings[of == which].astype(float)
        return float((mine.sum() + 5 * middle) / (len(mine) + 5))

    guess = np.array([
        mean_of(train.users, user) + mean_of(train.items, item) - middle
        for user, item in zip(log.users.tolist(), log.items.tolist(), strict=True)
    ])  # fmt: skip
    area = roc_auc_score(log.ratings >= 4, guess)

    assert value(found, "pooled AUC of user mean + item mean, liked against rated lower") == pytest.approx(area)
    rmse = np.sqrt(((guess - log.ratings) ** 2).mean())
    assert value(found, "RMSE of user mean + item mean") == pytest.approx(rmse)


def test_no_held_out_row_moves_a_threshold(faithful: Bench):
    """What popularity says yes to is set by training rows, also where it would suit the held-out ones badly."""
    split, fame = faithful.split, faithful.train.popularity
    threshold = rivals_of(faithful.train)[0].threshold
    below = np.flatnonzero(fame < threshold)
    below = below[np.argsort(-fame[below], kind="stable")][:60]  # all that is chosen later is a little less known
    rng = np.random.default_rng(0)
    valid, test = (
        replace(log, items=rng.choice(below, len(log)).astype(log.items.dtype)) for log in (split.valid, split.test)
    )
    odd = replace(faithful, split=replace(split, valid=valid, test=test))

    for bench in (faithful, odd):
        trial, found = trial_of(bench), taste(bench)
        own, others = fame[trial.items], fame[trial.strangers[:, 0]]
        by_hand = ((own >= threshold).mean() + (others < threshold).mean()) / 2
        assert value(found, "balanced accuracy of popularity, random items") == pytest.approx(by_hand)
    best = best_threshold(own.astype(float), others.astype(float))
    assert best < threshold, "held-out rows would have set another"
    assert ((own >= best).mean() + (others < best).mean()) / 2 > by_hand + 0.05


class RatesByTwoMeans(ChoicePopulation):
    """Expects of every item what user mean and item mean foretell."""

    def fit(self, dataset: Dataset) -> None:
        super().fit(dataset)
        self.user, self.item = two_means(dataset)

    def judge(self, users: IntArray, items: IntArray, luck: BitArray) -> Judgement:
        return replace(super().judge(users, items, luck), expected=self.user[users] + self.item[items])


def test_users_who_tell_their_own_items_apart_no_better_than_all_do_get_a_warning(on_bench: MakeBench):
    name = f"AUC within users less that of {TWO_MEANS}, liked against rated lower"
    found = ratings(on_bench(RatesByTwoMeans))

    assert value(found, name) == pytest.approx(0, abs=1e-9)
    assert word(found, name) == "warn"
    assert found.word == "warn"
    assert limits_of({"ratings.lead_within": [0.0, -0.1]})["ratings.lead_within"].good == 0.0


def test_the_best_threshold_is_that_of_trying_each():
    rng = np.random.default_rng(0)
    own, others = rng.integers(0, 30, 200) + 5.0, rng.integers(0, 30, 300).astype(float)
    right = {cut: (own >= cut).mean() + (others < cut).mean() for cut in np.unique(np.append(own, others))}

    assert right[best_threshold(own, others)] == pytest.approx(max(right.values()))


def test_levels_are_set_by_half_of_the_users_and_compared_on_the_others(on_bench: MakeBench):
    bench = on_bench(ChoicePopulation)
    setters = bench.population.level_users

    assert 0.3 < len(setters) / 200 < 0.6
    assert any("users whose rows set no levels" in one.name for one in ratings(bench).figures)


def test_ratings_of_the_others_do_not_move_the_levels():
    train = films_world(users=60, items=80).dataset
    setters = level_users(train, 0)
    log = train.interactions
    late = log.places(60) >= np.floor(np.diff(train.starts) * 0.8 + 1e-9)[log.users]
    changed = np.where(late & ~np.isin(log.users, setters), 6 - log.ratings, log.ratings).astype(log.ratings.dtype)
    others = train.only(Interactions(log.users, log.items, changed, log.times))
    before, after = ChoicePopulation(), ChoicePopulation()
    before.fit(train)
    after.fit(others)

    assert before.minds is not None
    assert after.minds is not None
    np.testing.assert_array_equal(before.minds.cuts, after.minds.cuts)
