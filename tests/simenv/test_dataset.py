from dataclasses import replace

import numpy as np
import pytest

from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users, disliked_to, liked_from
from simenv.errors import DataError
from simenv.interactions import NO_TIME, Interactions


def films() -> Dataset:
    nothing = np.array([None, None, None], dtype=object)
    catalog = Catalog(
        ids=np.array([10, 20, 30]),
        titles=np.array(["Heat", None, "Alien"], dtype=object),
        categories=(("Crime", "Action"), (), ("Horror",)),
        descriptions=nothing,
        years=np.array([1995, np.nan, 1979]),
    )
    log, _ = Interactions.sort(
        np.array([1, 0, 1]), np.array([0, 2, 1]), np.array([4.0, 1.0, 5.0]), np.array([30, 10, 20])
    )
    return Dataset("films", catalog, Users(np.array([7, 8, 9])), log)


def test_a_users_rows_stand_together_oldest_first():
    dataset = films()

    assert dataset.interactions.items.tolist() == [2, 1, 0]
    assert dataset.starts.tolist() == [0, 1, 3, 3]
    assert dataset.interactions.places(3).tolist() == [0, 0, 1]


def test_rows_of_some_users_come_one_after_the_other():
    places, rows = films().rows_of(np.array([1, 2, 0]))

    assert places.tolist() == [0, 0, 2]
    assert rows.tolist() == [1, 2, 0]


@pytest.mark.parametrize("order", [[3, 1, 2], [3.5, 1.0, 2.0], [2**62, -(2**62), 0], [0, NO_TIME, NO_TIME]])
def test_any_order_of_numbers_sorts(order: list[float]):
    _, rows = Interactions.sort(np.array([5, 5, 5]), np.arange(3), order=np.array(order))

    assert rows.tolist() == [1, 2, 0]


def test_rows_of_equal_order_stay_as_they_came():
    _, rows = Interactions.sort(np.array([1, 0, 1, 0]), np.arange(4), order=np.zeros(4, dtype=int))

    assert rows.tolist() == [1, 3, 0, 2]


def test_strengths_go_with_their_rows():
    log = replace(films().interactions, strengths=np.array([1.0, 2.0, 3.0]))

    kept = log[np.array([True, False, True])].strengths

    assert kept is not None
    assert kept.tolist() == [1, 3]


def test_ids_are_looked_up_or_told_to_be_missing():
    catalog = films().catalog

    assert catalog.index([30, 10]).tolist() == [2, 0]
    with pytest.raises(DataError, match="no item 40 in the catalogue of 3 items"):
        catalog.index([40])


def test_categories_make_a_matrix():
    catalog = films().catalog

    assert catalog.category_names == ["Action", "Crime", "Horror"]
    assert catalog.category_matrix.tolist() == [[True, True, False], [False] * 3, [False, False, True]]


def test_the_fingerprint_changes_with_anything_in_it():
    one = films()
    others = [
        replace(one, users=Users(np.array([7, 8, 6]))),
        replace(one, users=Users(one.users.ids, {"age": np.array(["1", None, None], dtype=object)})),
        replace(one, catalog=replace(one.catalog, years=np.array([1996, np.nan, 1979]))),
        replace(one, catalog=replace(one.catalog, categories=((), (), ()))),
        replace(one, interactions=replace(one.interactions, ratings=np.array([1.0, 5.0, 3.0]))),
        replace(one, interactions=replace(one.interactions, strengths=np.ones(3))),
        replace(one, published={"split": np.array(["train", "train", "test"], dtype=object)}),
    ]

    assert films().fingerprint == one.fingerprint
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)


def test_four_of_five_is_liked_and_two_disliked():
    ratings = np.array([1, 5, np.nan])

    assert (liked_from(ratings), disliked_to(ratings)) == (4, 2)
    assert np.isnan(liked_from(np.array([np.nan])))
