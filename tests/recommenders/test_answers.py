"""What each policy shows, on tables small enough to know by heart."""

from collections.abc import Sequence

import numpy as np
import pytest

from simenv.arrays import FloatArray, IntArray
from simenv.catalog import Catalog
from simenv.context import Context
from simenv.dataset import Dataset, Users
from simenv.films import films_world
from simenv.interactions import Interactions
from simenv.loop import luck_of
from simenv.pages import EMPTY, Grade
from simenv.policy import Policy
from simenv.recommenders.ease import Ease
from simenv.recommenders.item_knn import ItemKNN
from simenv.recommenders.oracle import AntiOracle, Oracle
from simenv.recommenders.pop import Pop
from simenv.recommenders.random import Random

# Three friends of 0 and 1, two of 2 and 3; the last user has met nothing. Nobody has met item 5.
HISTORIES = [[0, 1], [0, 1, 4], [1, 0], [2, 3], [3, 2, 4], []]
ITEMS = 6


def dataset(histories: Sequence[Sequence[int]] = HISTORIES, items: int = ITEMS) -> Dataset:
    users = np.repeat(np.arange(len(histories)), [len(mine) for mine in histories])
    log, _ = Interactions.sort(users, np.array([item for mine in histories for item in mine]))
    nothing = np.full(items, None, dtype=object)
    catalog = Catalog(np.arange(items), nothing, ((),) * items, nothing, np.full(items, np.nan))
    return Dataset("by heart", catalog, Users(np.arange(len(histories))), log)


def context(
    data: Dataset, users: Sequence[int], shown: Sequence[Sequence[int]] = (), grades: Sequence[Sequence[int]] = ()
) -> Context:
    who = np.array(users, dtype=np.int32)
    before = np.array(shown, dtype=np.int32).reshape(len(who), -1)
    marks = np.array(grades, dtype=np.int8).reshape(len(who), -1)
    return Context(data, who, np.zeros(len(who), np.int32), before, marks, luck_of(0, who))


def page(policy: Policy, data: Dataset, k: int, *rest: Sequence) -> list[list[int]]:
    policy.fit(data)
    return policy.recommend(context(data, *rest), k).tolist()


def seen(data: Dataset) -> FloatArray:
    matrix = np.zeros((len(data.users), len(data.catalog)))
    matrix[data.interactions.users, data.interactions.items] = 1
    return matrix


def test_pop_shows_what_most_have_met_and_ties_go_to_the_lower_item():
    assert page(Pop(), dataset(), 6, [5]) == [[0, 1, 2, 3, 4, 5]]
    assert page(Pop(), dataset([[3], [3, 1], [1, 3], [0, 2], []]), 4, [4]) == [[3, 1, 0, 2]]


def test_pop_leaves_out_what_the_user_has_met():
    assert page(Pop(), dataset(), 3, [0, 4]) == [[2, 3, 4], [0, 1, 5]]


def test_item_knn_shows_what_friends_of_the_users_items_met():
    """4 was met by one of three who met 0 and 1, and by one of two who met 2 and 3."""
    assert page(ItemKNN(shrink=0), dataset(), 2, [0, 3]) == [[4, 2], [4, 0]]


def test_item_knn_is_the_shrunk_cosine():
    data = films_world(users=30, items=40).dataset
    policy = ItemKNN(neighbours=40, shrink=10)
    policy.fit(data)
    matrix = seen(data)
    norms = np.sqrt(matrix.sum(axis=0))
    wanted = matrix.T @ matrix / (np.outer(norms, norms) + 10)
    np.fill_diagonal(wanted, 0)

    assert np.allclose(policy.similarity.toarray(), wanted, rtol=1e-5)


def test_item_knn_keeps_the_nearest_alone():
    data = films_world(users=30, items=40).dataset
    policy, whole = ItemKNN(neighbours=3), ItemKNN(neighbours=40)
    policy.fit(data)
    whole.fit(data)
    kept, all_of = policy.similarity.toarray(), whole.similarity.toarray()
    for item in range(40):  # a column holds what speaks for others, so the neighbours of an item lie in its column
        nearest = kept[:, item][kept[:, item] > 0]
        assert np.array_equal(np.sort(nearest), np.sort(all_of[:, item])[-3:][-len(nearest) :])
        assert len(nearest) == min(3, (all_of[:, item] > 0).sum())


@pytest.mark.parametrize("modesty", [0.0, 0.5])
def test_ease_is_the_published_formula(modesty: float):
    """With modesty it is the same over weighted users."""
    data = films_world(users=30, items=40).dataset
    policy = Ease(regularisation=20.0, modesty=modesty)
    policy.fit(data)
    matrix = seen(data)
    weight = (matrix.sum(axis=1).mean() / matrix.sum(axis=1)) ** modesty
    inverse = np.linalg.inv(matrix.T @ (matrix * weight[:, None]) + 20.0 * np.eye(40))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)

    assert np.allclose(policy.weights, weights, atol=1e-6)
    users = np.arange(30)
    scores = np.where(matrix > 0, -np.inf, matrix @ weights)
    assert policy.recommend(context(data, users), 3).tolist() == np.argsort(-scores, axis=1)[:, :3].tolist()


def test_an_item_met_twice_counts_once():
    once, twice = dataset([[0, 1], [1, 2], [3]]), dataset([[0, 1, 0], [1, 2, 1], [3]])
    one, other = Ease(regularisation=1.0), Ease(regularisation=1.0)
    one.fit(once)
    other.fit(twice)
    assert np.allclose(one.weights, other.weights)


@pytest.mark.parametrize("policy", [ItemKNN(shrink=0), Ease(regularisation=1.0)])
@pytest.mark.parametrize(("grade", "first"), [(Grade.LIKED, 3), (Grade.VIEWED, 3), (Grade.PASSED, 0)])
def test_what_was_liked_on_this_page_changes_the_next(policy: Policy, grade: Grade, first: int):
    """The newcomer is shown 2; if it pleases, 3 goes with it, else nothing is known but fame."""
    assert page(policy, dataset(), 1, [5], [[2]], [[grade]]) == [[first]]


@pytest.mark.parametrize("policy", [ItemKNN(shrink=0), Ease(regularisation=1.0)])
def test_what_was_disliked_is_no_history(policy: Policy):
    told = page(policy, dataset(), 3, [0], [[4]], [[Grade.DISLIKED]])
    assert told == page(policy, dataset(), 3, [0], [[4]], [[Grade.UNSEEN]])


def test_a_random_order_is_drawn_for_each_user():
    data = films_world(users=60, items=120).dataset
    policy = Random()
    policy.fit(data)
    everybody = context(data, range(60))
    pages = policy.recommend(everybody, 5)
    assert len({tuple(row) for row in pages.tolist()}) == 60


def test_random_pages_cover_the_catalogue_evenly():
    data = dataset([[], []] + [[0]] * 3998, items=20)
    policy = Random()
    policy.fit(data)
    first = policy.recommend(context(data, range(2, 4000)), 1)[:, 0]
    counts = np.bincount(first, minlength=20)
    assert counts[0] == 0
    assert np.abs(counts[1:] - 3998 / 19).max() < 5 * np.sqrt(3998 / 19)


def test_random_goes_on_where_it_stopped():
    data = dataset()
    policy = Random()
    policy.fit(data)
    whole = policy.recommend(context(data, [0]), 4).tolist()
    first = policy.recommend(context(data, [0]), 2).tolist()
    then = policy.recommend(context(data, [0], first, [[Grade.PASSED] * 2]), 2).tolist()
    assert [first[0] + then[0]] == whole


def test_the_chances_of_a_place_sum_to_1_over_what_is_left():
    data = dataset()
    policy = Random()
    policy.fit(data)
    here = context(data, [0, 5], [[2], [EMPTY]], [[Grade.PASSED], [Grade.UNSEEN]])
    chances = policy.propensities(here, policy.recommend(here, 3))
    assert chances.tolist() == [[pytest.approx(1 / 3)] * 3, [pytest.approx(1 / 6)] * 3]


def test_the_bounds_show_the_best_and_the_worst_of_the_truth():
    world = films_world(users=60, items=120)
    best, worst = Oracle(world.truth), AntiOracle(world.truth)
    best.fit(world.dataset)
    worst.fit(world.dataset)
    likes: FloatArray = world.truth.likes(np.arange(60))
    left: IntArray = seen(world.dataset) == 0
    here = context(world.dataset, range(60))
    for user, (high, low) in enumerate(zip(best.recommend(here, 1), worst.recommend(here, 1), strict=True)):
        assert likes[user, high[0]] == likes[user, left[user]].max()
        assert likes[user, low[0]] == likes[user, left[user]].min()


@pytest.mark.parametrize("k", [1, 3, 6, 9])
def test_top_gives_what_sorting_everything_would(k: int):
    """With many ties, some items out of bounds, and none at all left for one user."""
    data = dataset([[0, 1], [0, 1, 2, 3, 4, 5], []])
    here = context(data, [0, 1, 2], [[2], [EMPTY], [EMPTY]], [[1], [0], [0]])
    scores = np.array([[9, 9, 9, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 2, 2, 2, 0, -np.inf]], dtype=np.float32)
    wanted = [[3, 4, 5], [], [1, 2, 3, 0, 4]]

    assert here.top(scores, k).tolist() == [(row + [EMPTY] * 9)[:k] for row in wanted]


@pytest.mark.filterwarnings("error")
def test_without_shrinking_an_item_nobody_met_comes_last():
    assert page(ItemKNN(shrink=0), dataset(), 4, [0, 3]) == [[4, 2, 3, 5], [4, 0, 1, 5]]
