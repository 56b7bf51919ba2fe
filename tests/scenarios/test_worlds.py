"""A run goes through whatever the data are like: their ids, their ratings, their size, and how they are cut."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simenv.dataset import Users
from simenv.environment import PageEnv, PageVectorEnv
from simenv.films import World
from simenv.pages import Grade
from simenv.rundir import RunDir
from simenv.scenarios import stage
from simenv.scenarios.environments import cast
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario

Tiny = Callable[..., Scenario]
Change = Callable[[World], World]


def named(world: World) -> World:
    """Give users and items words for ids, which sort otherwise than their numbers."""
    data = world.dataset
    users = np.array([f"user {number}" for number in range(40, 0, -1)], dtype=object)
    items = np.array([f"film-{number}" for number in range(80)], dtype=object)
    return replace(world, dataset=replace(data, users=Users(users), catalog=replace(data.catalog, ids=items)))


def long_ids(world: World) -> World:
    """Give users ids of seventeen digits."""
    users = 76_561_197_960_265_728 + np.arange(40) ** 9
    return replace(world, dataset=replace(world.dataset, users=Users(users)))


def rated(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def changed(world: World) -> World:
        log = world.dataset.interactions
        ratings = change(log.ratings).astype(np.float32)
        return replace(world, dataset=world.dataset.only(replace(log, ratings=ratings)))

    return changed


def bare(world: World) -> World:
    """Say nothing of the items."""
    catalog = world.dataset.catalog
    nothing = np.full(80, None, dtype=object)
    left = replace(catalog, titles=nothing, categories=((),) * 80, descriptions=nothing, years=np.full(80, np.nan))
    return replace(world, dataset=replace(world.dataset, catalog=left))


WORLDS = {
    "named": named,
    "long ids": long_ids,
    "bare": bare,
    "implicit": rated(lambda ratings: np.full_like(ratings, np.nan)),
    "half rated": rated(lambda ratings: np.where(np.arange(len(ratings)) % 2, ratings, np.nan)),
    "half stars": rated(lambda ratings: ratings - 0.5 * (np.arange(len(ratings)) % 2)),
    "of ten": rated(lambda ratings: 2 * ratings),
    "thumbs": rated(lambda ratings: (ratings >= 4).astype(float)),
    "hours": rated(lambda ratings: ratings * 37.3 + np.arange(len(ratings)) / 7),
}


@pytest.mark.parametrize("population", ["choice", "replay", "truth"])
@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.filterwarnings("error")
def test_a_run_goes_through(
    tmp_path: Path, tiny: Tiny, world: World, monkeypatch: pytest.MonkeyPatch, kind: str, population: str
):
    monkeypatch.setattr(stage, "films_world", lambda **_: WORLDS[kind](world))

    result = run(tiny(population=population, policies=["random", "item-knn"], batch_size=9), tmp_path / "run")

    assert result.manifest["status"] == "complete"
    users = set(result.users["user_id"].to_pylist())
    assert set(result.pages["user_id"].to_pylist()) == users
    assert result.read_json("metrics.json")["random"]["N_exit"]["n"] == 40
    order = list(zip(*(result.pages[name].to_pylist() for name in ("policy", "user_id", "page")), strict=True))
    assert order == sorted(order)


@pytest.mark.parametrize("split", ["leave-one-out", "time", {"by": "time", "test": 0.2, "valid": 0.0}])
def test_a_run_goes_through_however_the_data_are_cut(tmp_path: Path, tiny: Tiny, split: object):
    result = run(tiny(split=split, population="choice"), tmp_path / "run")
    assert result.manifest["status"] == "complete"
    assert {"recall@20"} <= set(result.read_json("metrics.json")["pop"])


def test_without_an_offline_ranking_there_are_no_offline_metrics(tmp_path: Path, tiny: Tiny):
    result = run(tiny(offline=None), tmp_path / "run")
    assert not result.rankings
    assert not {name for name in result.read_json("metrics.json")["pop"] if "@" in name}


@pytest.fixture
def exhausted(tmp_path: Path, tiny: Tiny) -> RunDir:
    """A run that goes on after everything has been shown."""
    world = {"name": "films", "users": 40, "items": 30}
    habits = {"name": "truth", "leave": -50.0}  # nobody leaves
    return run(tiny(dataset=world, population=habits, page_size=10, max_pages=4, offline=50), tmp_path / "run")


def test_when_all_is_shown_pages_stay_empty(exhausted: RunDir):
    items = {}
    for row in exhausted.events.to_pylist():
        items.setdefault((row["policy"], row["user_id"]), []).append(row["item_id"])
    counts = dict(zip(exhausted.users["user_id"].to_pylist(), exhausted.users["train_count"].to_pylist(), strict=True))

    assert len(exhausted.pages) == 2 * 40 * 4
    assert all(len(shown) == len(set(shown)) == 30 - counts[user] for (_, user), shown in items.items())


def test_offline_metrics_bear_the_number_that_was_asked_for(exhausted: RunDir):
    """Though no list is as long."""
    assert "recall@50" in exhausted.read_json("metrics.json")["pop"]


def test_the_manifest_counts_the_places_left_empty(exhausted: RunDir):
    places = 2 * 40 * 4 * 10 - len(exhausted.events)
    assert sum(exhausted.manifest["empty_places"].values()) == places > 0


def test_a_fifth_of_the_users_can_be_chosen_and_stays_chosen(tmp_path: Path, tiny: Tiny):
    one, other = (run(tiny(users=8, seeds=[seed]), tmp_path / str(seed)) for seed in (0, 1))
    assert len(set(one.pages["user_id"].to_pylist())) == 8
    assert set(one.pages["user_id"].to_pylist()) == set(other.pages["user_id"].to_pylist())


def test_a_guess_is_marked_in_the_environment():
    dataset, population, _ = cast({"dataset": {"name": "films", "users": 40, "items": 80}, "population": "replay"})
    sizes = {"page_size": 3, "max_pages": 4, "history": 5}
    one, many = PageEnv(dataset, population, **sizes), PageVectorEnv(dataset, population, num_envs=3, **sizes)
    one.reset(seed=0)
    many.reset(seed=0)

    told, tolds = one.step(np.array([1, 2, 3]))[4], many.step(np.tile([1, 2, 3], (3, 1)))[4]

    assert np.array_equal(told["known"], tolds["known"][0])
    assert (told["grades"][~told["known"]] == Grade.PASSED).all()
