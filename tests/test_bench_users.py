"""How near users come to real ones is told beside trivial predictors, whose thresholds no held-out row sets."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import users as bench
from benchmarks.record import Row
from simenv.agents.choice import ChoicePopulation
from simenv.dataset import Dataset
from simenv.fidelity.rivals import best_threshold
from simenv.films import films_world
from simenv.interactions import Interactions

Cut = tuple[Dataset, Dataset, Interactions, ChoicePopulation]


@pytest.fixture(scope="module")
def cut() -> Cut:
    """A small world, what the users were fitted to, what is held out of it, and the users."""
    dataset = films_world(users=120, items=150).dataset
    train, held = bench.last_rows(dataset)
    population = ChoicePopulation()
    population.fit(train)
    return dataset, train, held, population


def values(rows: list[Row]) -> dict[str, float]:
    return {one.figure.removeprefix("films, choice: "): one.value for one in rows}


def test_every_figure_of_taste_stands_beside_both_rivals_pooled_and_within_users(cut: Cut):
    dataset, train, held, population = cut
    found = values(list(bench.taste("films, choice: ", dataset, train, held, population)))

    for kind in ("random", "as popular"):
        for rival in (bench.POPULARITY, bench.TWO_MEANS):
            for figure in ("AUC", "AUC within users", "balanced accuracy"):
                assert f"{figure} of {rival} alone, {kind} items" in found
                assert f"{figure}, {kind} items" in found or figure == "balanced accuracy"
            lead = found[f"lead over {rival} alone, {kind} items, rows pooled"]
            both = (found[f"balanced accuracy{of}, {kind} items, rows pooled"] for of in ("", f" of {rival} alone"))
            assert lead == pytest.approx(next(both) - next(both), abs=2e-4)


def test_a_rivals_figures_are_those_of_another_library(cut: Cut, monkeypatch: pytest.MonkeyPatch):
    dataset, train, held, population = cut
    cases: list[tuple[np.ndarray, np.ndarray]] = []
    drawn = bench.strangers

    def noted(*told: object) -> np.ndarray:
        items = drawn(*told)  # type: ignore[arg-type]
        cases.append((told[1], items))  # type: ignore[arg-type]
        return items

    monkeypatch.setattr(bench, "strangers", noted)
    found = values(list(bench.taste("films, choice: ", dataset, train, held, population)))

    liked = held[~(held.ratings < 4)]
    others = cases[0][1]
    fame = np.bincount(train.interactions.items, minlength=150)
    area = roc_auc_score(np.arange(len(liked) * 10) < len(liked), np.concatenate([fame[liked.items], fame[others]]))
    assert found["AUC of popularity alone, random items"] == pytest.approx(area, abs=1e-4)


def test_thresholds_are_those_of_validation_rows(cut: Cut):
    _, train, _, _ = cut
    early, valid = bench.last_rows(train)
    fame = np.bincount(early.interactions.items, minlength=150) / len(early.interactions)
    liked = valid[valid.ratings >= 4]
    (popularity, _) = bench.rivals(train, "random")

    # However other items are drawn, it is a popularity of the early rows, and parts the validation rows well.
    assert popularity.threshold in fame
    rng = np.random.default_rng(0)
    others = fame[rng.integers(150, size=5000)]

    def right(cut: float) -> float:
        return float((fame[liked.items] >= cut).mean() + (others < cut).mean()) / 2

    assert right(popularity.threshold) > right(best_threshold(fame[liked.items], others)) - 0.05


def test_held_out_rows_do_not_move_a_threshold_but_would_set_another(cut: Cut):
    dataset, train, held, population = cut
    fame = train.popularity / len(train.interactions)
    (popularity, _) = bench.rivals(train, "random")
    below = np.flatnonzero(fame < popularity.threshold)
    below = below[np.argsort(-fame[below], kind="stable")][:30]
    rng = np.random.default_rng(0)
    odd = replace(held, items=rng.choice(below, len(held)).astype(held.items.dtype))
    log = dataset.interactions
    late = ~np.isin(np.arange(len(log)), np.flatnonzero(log.places(120) < np.diff(train.starts)[log.users]))
    changed = np.where(late, -1, log.items).astype(log.items.dtype)
    changed[late] = odd.items
    other = dataset.only(replace(log, items=changed))

    found = values(list(bench.taste("films, choice: ", other, train, odd, population)))

    # All that is chosen later lies below the threshold, so popularity says no to it.
    assert found["balanced accuracy of popularity alone, random items"] < 0.5
    assert found["AUC of popularity alone, random items"] > 0.6, "another threshold would tell them"


def test_ratings_stand_beside_two_means_and_their_spread_is_told_of_those_who_set_no_levels(cut: Cut):
    _, train, held, population = cut
    rows = list(bench.ratings("films, choice: ", "films", train, held, population))
    found, notes = values(rows), {one.figure.removeprefix("films, choice: "): one.note for one in rows}

    ratings = train.interactions.ratings.astype(float)
    middle = ratings.mean()

    def means(of: np.ndarray, count: int) -> np.ndarray:
        return np.array([(ratings[of == one].sum() + 5 * middle) / ((of == one).sum() + 5) for one in range(count)])

    user, item = means(train.interactions.users, 120), means(train.interactions.items, 150)
    guess = user[held.users] + item[held.items] - middle
    assert found["AUC of user and item means alone, liked against rated lower"] == pytest.approx(
        roc_auc_score(held.ratings >= 4, guess), abs=1e-4
    )
    assert found["rating RMSE of user and item means"] == pytest.approx(
        np.sqrt(((guess - held.ratings) ** 2).mean()), abs=1e-4
    )
    assert "AUC within users of popularity alone, liked against rated lower" in found
    assert notes["JS divergence of ratings"] == "users whose rows set no levels"


def test_rows_of_those_who_set_the_levels_do_not_move_the_divergence(cut: Cut):
    _, train, held, population = cut
    upside_down = np.where(np.isin(held.users, population.level_users), 6 - held.ratings, held.ratings)
    other = replace(held, ratings=upside_down.astype(held.ratings.dtype))

    def told(rows: Interactions) -> float:
        return values(list(bench.ratings("films, choice: ", "films", train, rows, population)))[
            "JS divergence of ratings"
        ]

    assert told(other) == told(held)
    assert len(population.level_users)
