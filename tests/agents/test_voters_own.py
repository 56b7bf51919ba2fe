"""Users by three votes are a population of their own: they read nothing that `choice` learns, and tell likes."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from simenv.agents import choosing, rating
from simenv.agents.choice import ChoicePopulation
from simenv.agents.sequences import DOUBT, HALF, LAGS, learn_sequences
from simenv.agents.voters import FACETS, VotersPopulation
from simenv.arrays import BoolArray, FloatArray
from simenv.catalog import Catalog
from simenv.chance import key, mix
from simenv.dataset import Dataset, Users
from simenv.films import films_world
from simenv.interactions import Interactions
from simenv.loop import luck_of
from simenv.pages import Page
from simenv.store import read_state, write_state

PUBLISHED = 0.674  # AUC of Zhang et al. 2025 among rated items
EVERYONE = 300


@pytest.fixture(scope="module")
def world() -> Dataset:
    return films_world(users=EVERYONE, items=300).dataset


@pytest.fixture(scope="module")
def split(world: Dataset) -> tuple[Dataset, Interactions]:
    """Hold out every user's last fifth of rows."""
    log, counts = world.interactions, np.diff(world.starts)
    late = log.places(len(counts)) >= np.floor(0.8 * counts)[log.users]
    return world.only(log[~late]), log[late]


@pytest.fixture(scope="module")
def voters(split: tuple[Dataset, Interactions]) -> VotersPopulation:
    population = VotersPopulation()
    population.fit(split[0])
    return population


def luck(held: Interactions) -> np.ndarray:
    return mix(mix(key(0, "held"), held.users), held.items)


def auc(values: FloatArray, liked: BoolArray) -> float:
    """Return the share of pairs in order, ties half, by comparing all of them."""
    one, other = values[liked][:, None], values[~liked][None]
    return float((one > other).mean() + 0.5 * (one == other).mean())


def test_they_are_fitted_without_what_choice_learns(world: Dataset, monkeypatch: pytest.MonkeyPatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("learnt as choice learns")

    monkeypatch.setattr(choosing, "_taught", never)
    monkeypatch.setattr(rating, "_learnt", never)
    with pytest.raises(AssertionError, match="as choice learns"):
        ChoicePopulation().fit(world)

    VotersPopulation().fit(world)


def test_the_votes_tell_liked_rows_from_others_as_well_as_published(
    voters: VotersPopulation, split: tuple[Dataset, Interactions]
):
    held = split[1]
    liked = held.ratings >= 4
    expected = voters.judge(held.users, held.items, luck(held)).expected
    assert auc(expected, liked) > PUBLISHED
    odds = voters.votes(held.users, held.items)
    for place, _ in enumerate(FACETS):
        assert auc(odds[:, place], liked) > 0.55


def test_ratings_follow_the_votes(voters: VotersPopulation, split: tuple[Dataset, Interactions]):
    """Where all three votes are surer of a like, a better rating is expected."""
    held = split[1]
    odds = voters.votes(held.users, held.items)
    expected = voters.judge(held.users, held.items, luck(held)).expected
    rng = np.random.default_rng(0)
    one, other = rng.integers(len(held), size=(2, 5000))
    surer = (odds[one] > odds[other]).all(axis=1)
    assert surer.sum() > 500
    assert (expected[one][surer] >= expected[other][surer]).all()


def test_beliefs_of_voters_and_choice_go_together_only_by_what_is_true(split: tuple[Dataset, Interactions]):
    """With ratings drawn blindly, voters of one half of the rows share no belief with choosers of the other half."""
    train = split[0]
    log = train.interactions
    rng = np.random.default_rng(0)
    blind = replace(log, ratings=rng.integers(1, 6, size=len(log)).astype(np.float32))
    first = rng.random(len(log)) < 0.5
    believed = []
    users, items = np.repeat(np.arange(EVERYONE), 300), np.tile(np.arange(300), EVERYONE)
    for population, rows in ((ChoicePopulation(), first), (VotersPopulation(), ~first)):
        population.fit(train.only(blind[rows]))
        believed.append(population.judge(users, items, np.arange(len(users), dtype="u8")).expected)
    for means in (users, items):
        believed = [one - (np.bincount(means, one) / np.bincount(means))[means] for one in believed]
    assert abs(np.corrcoef(*believed)[0, 1]) < 0.05


def test_likes_and_dislikes_count_apart():
    """All chose films of both kinds; half liked the sea and disliked the desert, half the other way round."""
    kinds, count = ("sea", "desert"), 40
    titles = np.array([f"{kinds[item % 2]} story {item}" for item in range(count)], dtype=object)
    texts = np.array([f"a tale of {'waves' if item % 2 == 0 else 'dunes'}" for item in range(count)], dtype=object)
    catalog = Catalog(np.arange(count), titles, tuple((kinds[item % 2],) for item in range(count)), texts,
                      np.full(count, np.nan, dtype=np.float32))  # fmt: skip
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(80), 16)
    items = np.concatenate([rng.choice(count - 4, size=16, replace=False) for _ in range(80)])
    ratings = np.where(users % 2 == items % 2, 5, 2).astype(np.float32)
    log, _ = Interactions.sort(users, items, ratings, np.arange(len(users)))
    population = VotersPopulation()
    population.fit(Dataset("kinds", catalog, Users(np.arange(80)), log))

    everyone = np.arange(80)
    sea, desert = (population.votes(everyone, np.full(80, item)) for item in (36, 37))
    for place in (FACETS.index("keywords"), FACETS.index("likeness")):
        assert ((sea[:, place] > desert[:, place]) == (everyone % 2 == 0)).all()
    fresh = [population.judge(everyone, np.full(80, item), everyone.astype("u8")).expected for item in (36, 37)]
    assert ((fresh[0] > fresh[1]) == (everyone % 2 == 0)).all()


def test_sequences_are_the_counted_pairs(world: Dataset):
    """Against a count by hand: how often an item, liked or not, came shortly before another."""
    few = world.only(world.interactions[world.interactions.items < 12])
    log = few.interactions
    liked = log.ratings >= 4
    found = learn_sequences(few, liked, 0)

    width = len(few.catalog)
    pairs = np.zeros((2 * width, width))
    for user in range(len(few.users)):
        rows = range(few.starts[user], few.starts[user + 1])
        for row in rows:
            for before in range(max(rows[0], row - LAGS), row):
                pairs[log.items[before] + width * (not liked[before]), log.items[row]] += 1
    scaled = pairs / (pairs.sum(axis=1, keepdims=True) + DOUBT) / np.sqrt(pairs.sum(axis=0, keepdims=True) + DOUBT)
    states = np.zeros((len(few.users), 2 * width))
    for user in range(len(few.users)):
        rows = range(few.starts[user], few.starts[user + 1])
        for row in rows:
            states[user, log.items[row] + width * (not liked[row])] += 0.5 ** ((rows[-1] - row) / HALF)
    np.testing.assert_allclose(found.chosen_users @ found.chosen_items.T, states @ scaled, atol=1e-9)


@pytest.mark.parametrize("rated", [True, False])
def test_voters_who_are_kept_do_as_they_did(world: Dataset, rated: bool, tmp_path: Path):
    """Once restored from disk they judge and browse as before; rule and habits are those they are made with."""
    log = world.interactions
    dataset = world if rated else world.only(replace(log, ratings=np.full(len(log), np.nan, dtype=np.float32)))
    population, again = VotersPopulation(rule="weights"), VotersPopulation(rule="weights")
    population.fit(dataset)
    write_state(tmp_path / "kept", {}, population.state())
    again.restore(read_state(tmp_path / "kept")[1])

    users = np.arange(EVERYONE)
    items = np.stack([np.random.default_rng(user).permutation(300)[:10] for user in users]).astype(np.int32)
    page = Page(users.astype(np.int32), users, np.zeros(EVERYONE, dtype=np.int32), items)
    for one, other in (
        (population.enter(users, luck_of(0, users)).react(page), again.enter(users, luck_of(0, users)).react(page)),
        (population.judge(users, items[:, 0], luck_of(0, users)), again.judge(users, items[:, 0], luck_of(0, users))),
    ):
        for field in fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
