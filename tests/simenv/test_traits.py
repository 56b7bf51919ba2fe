"""Traits are Agent4Rec's formulas over the given rows alone."""

import numpy as np

from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.films import films_world
from simenv.interactions import Interactions
from simenv.splits import leave_one_out
from simenv.traits import levels, traits_of


def by_heart() -> Dataset:
    """Three users: the first rates 0 and 1 as 5 and 1, the second 0 as 3, the third nothing."""
    log, _ = Interactions.sort(np.array([0, 0, 1]), np.array([0, 1, 0]), ratings=np.array([5.0, 1.0, 3.0]))
    nothing = np.full(3, None, dtype=object)
    catalog = Catalog(np.arange(3), nothing, (("a",), ("a", "b"), ("c",)), nothing, np.full(3, np.nan))
    return Dataset("by heart", catalog, Users(np.arange(3)), log)


def test_the_formulas():
    """Item 0 has mean 4, item 1 mean 1; user 0 is 1 and 0 away from them, user 1 is 1 away."""
    traits = traits_of(by_heart())

    assert traits.activity.tolist()[:2] == [2, 1]
    assert traits.conformity.tolist()[:2] == [0.5, 1.0]
    # User 0's interactions are of category a by three quarters, b by one: a alone does not cover four fifths.
    assert traits.diversity.tolist()[:2] == [2, 1]
    assert all(np.isnan(figures[2]) for figures in (traits.activity, traits.conformity, traits.diversity))
    assert traits.activity_level[2] == -1


def test_levels_are_cut_at_quantiles_of_those_known():
    figures = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, np.nan])
    assert levels(figures, (0.6, 0.9)).tolist() == [0] * 6 + [1] * 3 + [2, -1]


def test_they_are_those_of_the_rows_that_are_left_when_the_rest_is_held_out():
    world = films_world(users=40, items=80).dataset
    split = leave_one_out(world)
    held = world.only(split.train.interactions)

    for one, other in zip(vars(traits_of(split.train)).values(), vars(traits_of(held)).values(), strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    assert not np.array_equal(traits_of(split.train).activity, traits_of(world).activity)


def test_without_ratings_or_categories_there_is_less_to_know():
    log, _ = Interactions.sort(np.array([0, 0, 1]), np.array([0, 1, 0]))
    nothing = np.full(3, None, dtype=object)
    data = Dataset(
        "bare", Catalog(np.arange(3), nothing, ((),) * 3, nothing, np.full(3, np.nan)), Users(np.arange(3)), log
    )

    traits = traits_of(data)

    assert np.isnan(traits.conformity).all()
    assert np.isnan(traits.diversity).all()
    assert traits.activity_level.tolist()[:2] == [2, 0]
