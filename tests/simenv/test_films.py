"""The made world is the same for everybody, and its log comes from its truth."""

import numpy as np
import pytest

from simenv.errors import DataError
from simenv.films import films_world


def test_one_seed_one_world():
    one, other = films_world.__wrapped__(40, 80, 3), films_world.__wrapped__(40, 80, 3)
    assert one.dataset.fingerprint == other.dataset.fingerprint
    assert np.array_equal(one.truth.tastes, other.truth.tastes)


def test_another_seed_another_world():
    assert films_world(40, 80, 3).dataset.fingerprint != films_world(40, 80, 4).dataset.fingerprint


def test_it_has_the_size_asked_for():
    dataset = films_world(users=40, items=80).dataset
    assert (len(dataset.users), len(dataset.catalog)) == (40, 80)
    assert len(set(dataset.catalog.titles)) == 80
    assert all(dataset.catalog.categories)


@pytest.mark.parametrize("size", [(1, 80), (40, 29)])
def test_a_world_too_small_is_refused(size: tuple[int, int]):
    with pytest.raises(DataError, match="at least 2 users and 30 items"):
        films_world(*size)


def test_nobody_meets_an_item_twice():
    log = films_world(40, 80).dataset.interactions
    assert len(set(zip(log.users.tolist(), log.items.tolist(), strict=True))) == len(log)


def test_everybody_has_a_history_in_the_order_of_time():
    dataset = films_world(40, 80).dataset
    assert np.diff(dataset.starts).min() >= 15
    same = np.diff(dataset.interactions.users) == 0
    assert (np.diff(dataset.interactions.times)[same] >= 0).all()


def test_every_rating_is_given():
    ratings = films_world(500, 1000).dataset.interactions.ratings
    assert np.bincount(ratings.astype(int), minlength=6)[1:].min() > 0.02 * len(ratings)


def test_fame_has_a_long_tail():
    counts = np.sort(films_world(500, 1000).dataset.popularity)[::-1]
    assert counts[:100].sum() > 0.3 * counts.sum()
    assert (counts <= 5).sum() > 50


def test_users_choose_and_rate_by_their_tastes():
    world = films_world(500, 1000)
    log = world.dataset.interactions
    relevance = world.truth.relevance(np.arange(500))
    chosen = relevance[log.users, log.items]
    assert chosen.mean() > relevance.mean() + 0.5
    assert np.corrcoef(chosen, log.ratings)[0, 1] > 0.25


def test_likes_are_chances_that_rise_with_relevance():
    truth = films_world(40, 80).truth
    likes = truth.likes(np.arange(40))
    assert ((likes > 0) & (likes < 1)).all()
    assert np.corrcoef(likes.ravel(), truth.relevance(np.arange(40)).ravel())[0, 1] > 0.5
