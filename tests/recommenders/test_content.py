"""Policies by words: BM25 is the published formula, words are words, and what pleases speaks next."""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest

from simenv.catalog import Catalog
from simenv.checks import PolicyChecks
from simenv.context import Context
from simenv.dataset import Dataset, Users
from simenv.errors import SimenvError
from simenv.films import films_world
from simenv.interactions import Interactions
from simenv.loop import luck_of
from simenv.pages import Grade
from simenv.policy import Policy
from simenv.ranking import ndcg
from simenv.readers import read
from simenv.recommenders.content import BM25, ByWords, TfIdf
from simenv.recommenders.random import Random
from simenv.splits import Split, leave_one_out

ML_1M = Path(__file__).parents[2] / ".." / "shared" / "data" / "ml-1m"
BOTH = pytest.mark.parametrize("make", [BM25, TfIdf])

# Nine words, so three on an item that has any; "rain" twice in the first.
SHELF = ["rain rain ship", "rain war", "war bridge ship medic", None]
HISTORIES = [[0], [1], [3], [], [2, 2]]


def dataset(texts: Sequence[str | None] = SHELF, histories: Sequence[Sequence[int]] = HISTORIES) -> Dataset:
    users = np.repeat(np.arange(len(histories)), [len(mine) for mine in histories])
    rows, _ = Interactions.sort(users, np.array([item for mine in histories for item in mine], dtype=int))
    count = len(texts)
    titles, nothing = np.array(texts, dtype=object), np.full(count, None, dtype=object)
    catalog = Catalog(np.arange(count), titles, ((),) * count, nothing, np.full(count, np.nan))
    return Dataset("by heart", catalog, Users(np.arange(len(histories))), rows)


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


def scores(policy: ByWords, data: Dataset) -> np.ndarray:
    """Return what each item, as a whole history, gives each item: [I, I]."""
    policy.fit(data)
    return (policy.questions @ policy.answers).toarray()


def weight(found: int, length: int, holders: int, k1: float = 1.2, b: float = 0.75) -> float:
    """The formula, for a word found so often in an item of this length, where three items have words, three each."""
    idf = log(1 + (3 - holders + 0.5) / (holders + 0.5))
    return idf * found * (k1 + 1) / (found + k1 * (1 - b + b * length / 3))


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (2.0, 0.0), (0.5, 1.0)])
def test_bm25_is_the_published_formula(k1: float, b: float):
    """Of the first item's words the second has rain, which asks twice, and the third has ship."""
    table = scores(BM25(k1=k1, b=b), dataset())
    assert table[0, 1] == pytest.approx(2 * weight(1, 2, 2, k1, b))
    assert table[0, 2] == pytest.approx(weight(1, 4, 2, k1, b))
    assert table[1, 0] == pytest.approx(weight(2, 3, 2, k1, b))
    assert table[2, 2] == pytest.approx(2 * weight(1, 4, 2, k1, b) + 2 * weight(1, 4, 1, k1, b))
    assert not table[3].any()
    assert not table[:, 3].any()


def test_a_word_that_all_items_hold_weighs_little_and_never_less_than_nothing():
    policy = BM25()
    policy.fit(dataset(["film rain", "film war", "film ship", "film bridge"]))
    assert policy.answers.data.min() > 0
    assert policy.answers[[1]].sum() < policy.answers[[2]].sum()  # in the order of the alphabet: film, rain


def test_tfidf_is_the_cosine():
    vectors = np.array([[0, 0, 1 + log(2), 1, 0], [0, 0, 1, 0, 1], [1, 1, 0, 1, 1]])  # bridge, medic, rain, ship, war
    vectors *= 1 + np.log(4 / np.array([1, 1, 2, 2, 2]))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = scores(TfIdf(), dataset())
    assert np.allclose(table[:3, :3], vectors @ vectors.T)
    assert not table[3].any()


def test_tfidf_ranks_by_the_cosine_with_the_mean_of_the_history():
    data = films_world(users=30, items=40).dataset
    policy = TfIdf(window=None)
    policy.fit(data)
    vectors = policy.questions.toarray()
    for user, shown in enumerate(policy.recommend(context(data, range(30)), 5)):
        mine = data.interactions.items[data.starts[user] : data.starts[user + 1]]
        mean = vectors[mine].mean(axis=0)
        cosines = vectors @ mean / np.linalg.norm(mean)
        cosines[mine] = -1
        assert np.allclose(cosines[shown], np.sort(cosines)[::-1][:5], atol=1e-6)


@BOTH
def test_words_are_asked_for_and_not_their_letters(make: type[ByWords]):
    """The second item has every letter of the first, the third its word in capitals."""
    table = scores(make(), dataset(["tame", "t a m e mate team", "The TAME", "a"]))
    assert table[0, 1] == 0
    assert table[0, 2] > 0


@BOTH
def test_titles_categories_and_descriptions_all_speak(make: type[ByWords]):
    data = dataset(["rain", None, None, "calm"], [[0]])
    told = np.array([None, "it may rain", None, None], dtype=object)
    catalog = replace(data.catalog, categories=((), (), ("Rain",), ()), descriptions=told)
    table = scores(make(), replace(data, catalog=catalog))
    assert (table[0, :3] > 0).all()
    assert table[0, 3] == 0


@BOTH
def test_a_user_of_whom_no_word_speaks_gets_the_most_popular(make: type[ByWords]):
    """Of the last two users one has met the item without words alone, and one nothing."""
    data = dataset(histories=[[2], [2], [1], [3], []])
    assert page(make(), data, 3, [3]) == [[2, 1, 0]]
    assert page(make(), data, 4, [4]) == [[2, 1, 3, 0]]


@BOTH
def test_fame_settles_ties_and_outweighs_no_word(make: type[ByWords]):
    texts = ["rain", "rain war", "rain war", *["ship"] * 4]
    data = dataset(texts, [[0], *[[2, 3]] * 50])
    assert page(make(), data, 3, [0]) == [[2, 1, 3]]


@BOTH
@pytest.mark.parametrize(("grade", "first"), [(Grade.LIKED, 1), (Grade.VIEWED, 1), (Grade.PASSED, 2)])
def test_what_was_liked_on_this_page_changes_the_next(make: type[ByWords], grade: Grade, first: int):
    """The newcomer is shown the first item; if it pleases, rain goes with it, else nothing is known but fame."""
    assert page(make(), dataset(), 1, [3], [[0]], [[grade]]) == [[first]]


@BOTH
def test_what_was_liked_speaks_louder_than_what_was_viewed(make: type[ByWords]):
    data = dataset(["rain", "war", "rain ship", "war ship"], [[]])
    for grades, first in (([Grade.LIKED, Grade.VIEWED], 2), ([Grade.VIEWED, Grade.LIKED], 3)):
        assert page(make(), data, 1, [0], [[0, 1]], [grades]) == [[first]]


@BOTH
def test_only_the_last_items_speak(make: type[ByWords]):
    """Two of rain, then one of war; then in the session one of ships."""
    texts = ["rain", "wet rain", "war", "rain cloud", "war drum", "ship", "ship mast"]
    data = dataset(texts, [[0, 1, 2]])
    assert page(make(window=None), data, 1, [0]) == [[3]]
    assert page(make(window=1), data, 1, [0]) == [[4]]
    assert page(make(window=1), data, 1, [0], [[5]], [[Grade.LIKED]]) == [[6]]
    assert sorted(page(make(window=2), data, 2, [0], [[5]], [[Grade.LIKED]])[0]) == [4, 6]


@BOTH
def test_an_item_met_twice_speaks_once(make: type[ByWords]):
    once, twice = dataset(histories=[[2, 0], [1]]), dataset(histories=[[2, 2, 0], [1]])
    policy = make(window=None)
    policy.fit(once)
    first, second = (policy._history(context(data, [0])).toarray() for data in (once, twice))
    assert first.tolist() == second.tolist() == [[1, 0, 1, 0]]


@BOTH
@pytest.mark.parametrize("texts", [[None] * 3, ["a", "?", " "]])
def test_a_catalogue_without_words_is_told(make: type[ByWords], texts: list[str | None]):
    with pytest.raises(SimenvError, match=f"by heart: none of its 3 items has a title.*{make.__name__} scores"):
        make().fit(dataset(texts, [[0], [1]]))


@pytest.mark.parametrize(
    ("make", "options", "told"),
    [
        (BM25, {"k1": -1}, "k1 is -1"),
        (BM25, {"b": 1.5}, "b is 1.5"),
        (BM25, {"window": 0}, "window is 0"),
        (TfIdf, {"window": -3}, "window is -3"),
    ],
)
def test_an_option_out_of_bounds_is_told(make: type[ByWords], options: dict[str, float], told: str):
    with pytest.raises(SimenvError, match=told):
        make(**options)


@BOTH
def test_what_was_learnt_is_restored(make: type[ByWords]):
    data = films_world(users=30, items=40).dataset
    policy, again = make(), make()
    policy.fit(data)
    again.restore(policy.state())
    here = context(data, range(30))
    assert np.array_equal(again.recommend(here, 5), policy.recommend(here, 5))


def quality(policy: Policy, split: Split) -> float:
    policy.fit(split.train)
    return ndcg(policy, split.train, split.test, 10, most=1000)


@BOTH
def test_words_find_held_out_films_better_than_chance(make: type[ByWords]):
    """What films a user of this world meets is half fame; chance finds 0.003."""
    split = leave_one_out(films_world().dataset)
    assert quality(make(window=None), split) > 3 * quality(Random(), split)


@BOTH
def test_words_find_real_held_out_films_better_than_chance(make: type[ByWords]):
    if not ML_1M.is_dir():
        pytest.skip("no ml-1m beside the repository")
    split = leave_one_out(read(ML_1M))
    assert quality(make(), split) > 5 * quality(Random(), split)


class TestBM25(PolicyChecks):
    make = BM25


class TestBM25OfTheWholeHistory(PolicyChecks):
    def make(self) -> BM25:
        return BM25(window=None)


class TestTfIdf(PolicyChecks):
    make = TfIdf


class TestTfIdfOfTheWholeHistory(PolicyChecks):
    def make(self) -> TfIdf:
        return TfIdf(window=None)
