"""The environments are Gymnasium's, one and many alike, and faces of the same page loop as the runner."""

import copy
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics

from simenv.agents.choice import ChoicePopulation
from simenv.agents.truth import TruthPopulation
from simenv.dataset import Dataset
from simenv.environment import PageEnv, PageVectorEnv, StrictPages
from simenv.errors import PageError, SimenvError
from simenv.eventlog import EventLog
from simenv.films import World, films_world
from simenv.interactions import Interactions
from simenv.loop import PageLoop
from simenv.pages import EMPTY, Grade, Turn
from simenv.play import play
from simenv.recommenders.pop import Pop
from simenv.scenarios import environments
from simenv.splits import Split

SIZES = {"page_size": 3, "max_pages": 4, "history": 10}
LATER = ("final_obs", "final_info", "_final_obs", "_final_info")


@pytest.fixture
def population(world: World, split: Split) -> TruthPopulation:
    made = TruthPopulation(world.truth)
    made.fit(split.train)
    return made


@pytest.fixture
def env(split: Split, population: TruthPopulation) -> PageEnv:
    return PageEnv(split.train, population, **SIZES)


def many(split: Split, population: TruthPopulation, count: int = 6, **options: Any) -> PageVectorEnv:
    return PageVectorEnv(split.train, population, num_envs=count, **SIZES | options)


def equal(one: Any, other: Any) -> bool:
    """Tell whether two observations or infos hold the same."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray) and one.dtype != object:
        return np.array_equal(one, other)
    if isinstance(one, np.ndarray):
        return all(equal(left, right) for left, right in zip(one, other, strict=True))
    return one is other or one == other


def new_page(env: PageEnv) -> np.ndarray:
    """Return three items that the session has not seen."""
    shown = env.context().shown
    return np.setdiff1d(np.arange(80), shown)[:3]


def test_gymnasium_finds_nothing_to_remark(env: PageEnv):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)  # which wants what gymnasium.make knows; see below


def test_gymnasium_makes_one_without_being_told_anything():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gym.make("simenv/Page-v0")
        check_env(made.unwrapped)
    observation, info = made.reset(seed=0)
    assert made.observation_space.contains(observation)
    assert set(info) == {"user_id"}
    made.close()


def test_gymnasium_makes_many(split: Split, population: TruthPopulation):
    made = gym.make_vec(
        "simenv/Page-v0", num_envs=5, vectorization_mode="vector_entry_point",
        dataset=split.train, population=population, **SIZES,
    )  # fmt: skip
    assert isinstance(made.unwrapped, PageVectorEnv)
    observation, _ = made.reset(seed=0)
    assert made.observation_space.contains(observation)
    made.close()


def test_a_scenario_sets_the_stage(tiny_file):
    made = gym.make("simenv/Page-v0", scenario=str(tiny_file(page_size=2)))
    assert made.action_space.shape == (2,)
    assert made.action_space.nvec[0] == 80


def test_names_set_the_stage():
    made = gym.make(
        "simenv/Page-v0", dataset={"name": "films", "users": 40, "items": 80}, population="truth", page_size=4
    )
    assert made.action_space.shape == (4,)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_many_are_as_many_single_ones(split: Split, population: TruthPopulation, mode: AutoresetMode):
    """Step for step the same as Gymnasium's own vector of single environments."""
    mine = many(split, population, autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: PageEnv(split.train, population, **SIZES)] * 6, autoreset_mode=mode)
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    assert mine.metadata["autoreset_mode"] == mode
    one, other = mine.reset(seed=5), theirs.reset(seed=5)
    assert equal(one[0], other[0])
    assert equal(one[1]["user_id"], other[1]["user_id"])
    mine.action_space.seed(0)
    ends = 0
    for _ in range(60):
        action = mine.action_space.sample()
        one, other = mine.step(action), theirs.step(action)
        for left, right in zip(one[:4], other[:4], strict=True):
            assert equal(left, right)
        same_info(one[4], other[4])
        ends += int(one[2].sum())
    assert ends > 10


def same_info(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare what is told of those seats for which it is told."""
    for name, values in theirs.items():
        if name.startswith("_") or name in ("known", "words"):  # a single one tells of None, many of nothing
            continue
        told = theirs[f"_{name}"]
        assert np.array_equal(told, mine[f"_{name}"]), name
        if name == "final_info":
            same_info(mine[name], values)
        else:
            assert equal(mine[name][told], values[told]), name


def test_disabled_waits_for_a_reset(split: Split, population: TruthPopulation):
    env = many(split, population, autoreset_mode="Disabled")
    env.reset(seed=0)
    env.action_space.seed(0)
    done = np.zeros(6, dtype=bool)
    while not done.any():
        _, _, ended, cut, _ = env.step(env.action_space.sample())
        done = ended | cut
    with pytest.raises(PageError, match="reset_mask"):
        env.step(env.action_space.sample())

    observation, info = env.reset(options={"reset_mask": done})

    assert np.array_equal(info["_user_id"], done)
    assert (observation["page"][done] == 0).all()
    assert (observation["page"][~done] > 0).all()
    env.step(env.action_space.sample())


def test_a_seat_draws_as_a_single_one_with_its_seed(split: Split, population: TruthPopulation, env: PageEnv):
    together, _ = many(split, population).reset(seed=3)
    for seat in range(6):
        alone, _ = env.reset(seed=3 + seat)
        assert equal(alone, {name: values[seat] for name, values in together.items()})


def test_seeds_can_be_given_one_by_one(split: Split, population: TruthPopulation):
    env = many(split, population)
    observation, _ = env.reset(seed=[3, 3, 4, 4, 5, None])
    assert observation["user"][0] == observation["user"][1]
    with pytest.raises(PageError, match="2 seeds for 6 seats"):
        env.reset(seed=[1, 2])


def sessions(env: PageEnv, count: int) -> Iterator[tuple[dict, list]]:
    """Yield the first info and the steps of so many sessions of random pages."""
    env.action_space.seed(0)
    for number in range(count):
        _, info = env.reset(seed=0 if number == 0 else None)
        steps, over = [], False
        while not over:
            steps.append(env.step(env.action_space.sample()))
            over = steps[-1][2] or steps[-1][3]
        yield info, steps


def test_the_seed_decides_everything(split: Split, population: TruthPopulation):
    one, other = (list(sessions(PageEnv(split.train, population, **SIZES), 5)) for _ in range(2))
    assert all(equal(left[0], right[0]) for left, right in zip(one, other, strict=True))
    for left, right in zip(one, other, strict=True):
        assert all(equal(*both) for steps in zip(left[1], right[1], strict=True) for both in zip(*steps, strict=True))


def test_without_a_seed_the_next_user_comes(env: PageEnv):
    users = {info["user_id"] for info, _ in sessions(env, 30)}
    assert len(users) > 10


def test_a_user_leaving_terminates_and_the_page_limit_truncates(env: PageEnv):
    ends = {(bool(steps[-1][2]), bool(steps[-1][3])) for _, steps in sessions(env, 60)}
    assert ends == {(True, False), (False, True)}
    for _, steps in sessions(env, 60):
        *before, last = steps
        assert not any(step[2] or step[3] for step in before)
        assert bool(last[4]["exit_cause"]) == last[2]
        assert len(steps) == 4 if last[3] else len(steps) <= 4


def test_a_session_that_is_over_takes_no_page(env: PageEnv):
    with pytest.raises(PageError, match="reset"):
        env.step(np.array([1, 2, 3]))
    for _ in sessions(env, 1):
        pass
    with pytest.raises(PageError, match="over"):
        env.step(np.array([1, 2, 3]))


def test_any_action_of_the_space_is_legal(env: PageEnv):
    env.reset(seed=0)
    _, _, _, _, info = env.step(np.array([5, 5, 7]))
    assert info["items"].tolist() == [5, EMPTY, 7]
    assert info["repeated"].tolist() == [False, True, False]
    assert info["grades"][1] == Grade.UNSEEN


def test_strict_pages_refuse_what_stands_twice_or_came_before(env: PageEnv):
    strict = StrictPages(env)
    strict.reset(seed=0)
    with pytest.raises(PageError, match=r"\[5\] stand twice"):
        strict.step(np.array([5, 5, 7]))
    if not strict.step(np.array([5, 6, 7]))[2]:
        with pytest.raises(PageError, match=r"\[6\] were shown before"):
            strict.step(np.array([8, 6, 9]))


@pytest.mark.parametrize("action", [[80, 1, 2], [-2, 1, 2]])
def test_an_action_outside_the_space_says_the_range(env: PageEnv, action: list[int]):
    env.reset(seed=0)
    with pytest.raises(PageError, match="items run from 0 to 79"):
        env.step(np.array(action))


@pytest.mark.parametrize("action", [[1, 2], [[1, 2, 3]], [1.5, 2.0, 3.0]])
def test_an_action_of_another_shape_says_which_is_wanted(env: PageEnv, action: list):
    env.reset(seed=0)
    with pytest.raises(PageError, match="wanted whole numbers"):
        env.step(np.array(action))


def test_the_history_ends_with_what_was_shown(env: PageEnv, split: Split):
    observation, _ = env.reset(seed=0)
    past = split.train.interactions.items[split.train.interactions.users == observation["user"]]
    assert observation["history"].tolist() == past[-10:].tolist()
    assert (observation["grades"] != Grade.UNSEEN).all()

    observation, _, _, _, info = env.step(new_page(env))

    assert observation["history"].tolist() == [*past[-7:].tolist(), *info["items"].tolist()]
    assert observation["grades"][-3:].tolist() == info["grades"].tolist()
    assert observation["page"] == 1


def test_a_short_history_is_filled_up_in_front(split: Split, population: TruthPopulation):
    env = PageEnv(split.train, population, page_size=3, max_pages=4, history=100)
    observation, _ = env.reset(seed=0)
    count = int((split.train.interactions.users == observation["user"]).sum())
    assert (observation["history"][:-count] == EMPTY).all()
    assert (observation["history"][-count:] >= 0).all()
    assert (observation["grades"][:-count] == Grade.UNSEEN).all()


def test_the_history_may_be_longer_than_the_whole_log(world: World, population: TruthPopulation):
    log, _ = Interactions.sort(np.array([0, 1, 1]), np.array([3, 4, 5]), np.array([5, 1, 3], dtype=np.float32))
    env = PageEnv(world.dataset.only(log), population, page_size=3, max_pages=4, history=50)
    observation, _ = env.reset(options={"user": 2})
    assert observation["history"].tolist() == [EMPTY] * 48 + [4, 5]
    assert observation["grades"].tolist() == [0] * 48 + [Grade.DISLIKED, Grade.VIEWED]


def test_what_was_observed_stays_as_it_was(split: Split, population: TruthPopulation):
    for env in (PageEnv(split.train, population, **SIZES), many(split, population), many(split, population, 1)):
        env.action_space.seed(0)
        observation, _ = env.reset(seed=0)
        seen = []
        for _ in range(20):
            seen.append((observation, {name: np.copy(values) for name, values in observation.items()}))
            observation, _, ended, cut, info = env.step(env.action_space.sample())
            told = {name: np.copy(values) for name, values in info.items() if isinstance(values, np.ndarray)}
            seen.append(({name: info[name] for name in told}, told))
            if isinstance(env, PageEnv) and (ended or cut):
                observation, _ = env.reset()
        assert all(equal(dict(one), other) for one, other in seen)


def test_a_user_can_be_named(env: PageEnv, split: Split):
    observation, info = env.reset(options={"user": 7})
    assert info["user_id"] == 7
    assert split.train.users.ids[observation["user"]] == 7
    with pytest.raises(PageError, match="no user 99 among the 40"):
        env.reset(options={"user": 99})


def count_liked(turn: Turn) -> np.ndarray:
    return (turn.reaction.grades == Grade.LIKED).sum(axis=1) / 3


@pytest.mark.parametrize(
    ("reward", "of"),
    [
        ("likes", lambda info, _: (info["grades"] == Grade.LIKED).sum()),
        ("views", lambda info, _: (info["grades"] >= Grade.VIEWED).sum()),
        ("satisfaction", lambda info, _: (info["satisfaction"] - 1) / 9),
        ("stay", lambda _, ended: 1 - ended),
        (count_liked, lambda info, _: (info["grades"] == Grade.LIKED).sum() / 3),
    ],
)
def test_the_reward_is_as_named(split: Split, population: TruthPopulation, reward: Any, of: Any):
    env = PageEnv(split.train, population, reward=reward, **SIZES)
    rewards = [(step[1], float(of(step[4], step[2]))) for _, steps in sessions(env, 20) for step in steps]
    assert all(isinstance(found, float) for found, _ in rewards)
    assert [found for found, _ in rewards] == pytest.approx([wanted for _, wanted in rewards])
    assert len({found for found, _ in rewards}) > 1


def test_an_unknown_reward_says_which_there_are(split: Split, population: TruthPopulation):
    with pytest.raises(SimenvError, match="no reward 'clicks'; there are likes, views"):
        PageEnv(split.train, population, reward="clicks", **SIZES)


def test_ansi_shows_the_page_in_words(split: Split, population: TruthPopulation):
    env = PageEnv(split.train, population, render_mode="ansi", **SIZES)
    env.reset(options={"user": 7})
    assert env.render() == "no page yet"

    env.step(np.array([5, 5, 7]))

    lines = env.render().splitlines()
    assert lines[0] == "user 7, page 0"
    assert split.train.catalog.title(5) in lines[1]
    assert "(empty): unseen" in lines[2]
    assert lines[4].startswith("satisfaction ")


def test_many_show_a_page_each(split: Split, population: TruthPopulation):
    env = many(split, population, render_mode="ansi")
    env.reset(seed=0)
    env.step(np.tile([5, 6, 7], (6, 1)))
    assert len({text.splitlines()[0] for text in env.render()}) > 3


def rows_of(log: EventLog) -> tuple[list, list]:
    return log.events().to_pylist(), log.pages().to_pylist()


def played(split: Split, population: TruthPopulation, folder: Path, visits: set[tuple[int, int]]) -> tuple[list, list]:
    """Return the log that the runner writes when these users come with these seeds."""
    policy, log = Pop(), EventLog(folder)
    policy.fit(split.train)
    loop = PageLoop(split.train, population, page_size=3, max_pages=4)
    for seed in {seed for _, seed in visits}:
        users = np.array(sorted(user for user, its in visits if its == seed), dtype=np.int32)
        for _, turns in play(loop, policy, users, seed, batch_size=7):
            log.write("pop", seed, split.train, turns)
    return rows_of(log)


def test_a_policy_in_the_environment_writes_the_runners_log(tmp_path: Path, split: Split, population: TruthPopulation):
    policy, log = Pop(), EventLog(tmp_path / "env")
    policy.fit(split.train)
    env = PageEnv(split.train, population, log=log, policy="pop", **SIZES)
    ids = split.train.users.ids
    for user in range(40):
        env.reset(seed=11, options={"user": ids[user]})
        over = False
        while not over:
            page = policy.recommend(env.unwrapped.context(), 3)[0]
            _, _, ended, cut, _ = env.step(page)
            over = ended or cut
    env.close()

    assert rows_of(log) == played(split, population, tmp_path / "runner", {(user, 11) for user in range(40)})


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_policy_before_many_writes_the_runners_log(
    tmp_path: Path, split: Split, population: TruthPopulation, mode: AutoresetMode
):
    policy, log = Pop(), EventLog(tmp_path / "env")
    policy.fit(split.train)
    env = many(split, population, 30, log=log, policy="pop", autoreset_mode=mode)
    env.reset(seed=11)
    for _ in range(9):
        _, _, ended, cut, _ = env.step(policy.recommend(env.context(), 3))
        if mode is AutoresetMode.DISABLED and (ended | cut).any():
            env.reset(options={"reset_mask": ended | cut})
    env.close()

    events, pages = rows_of(log)
    index = {user_id: user for user, user_id in enumerate(split.train.users.ids.tolist())}
    visits = {(index[row["user_id"]], row["seed"]) for row in pages}
    assert len(visits) > 30
    assert (events, pages) == played(split, population, tmp_path / "runner", visits)


def test_a_session_broken_off_is_not_in_the_log(tmp_path: Path, split: Split, population: TruthPopulation):
    env = PageEnv(split.train, population, log=EventLog(tmp_path), **SIZES)
    env.reset(seed=0)
    env.step(np.array([1, 2, 3]))
    env.reset(seed=1)
    env.close()
    assert not list(tmp_path.glob("pages/*"))


def test_a_user_who_comes_again_with_the_same_seed_is_logged_once(
    tmp_path: Path, split: Split, population: TruthPopulation
):
    log = EventLog(tmp_path)
    env = PageEnv(split.train, population, log=log, **SIZES)
    for _ in range(2):
        env.reset(seed=3)
        over = False
        while not over:
            _, _, ended, cut, _ = env.step(new_page(env))
            over = ended or cut
    env.close()

    keys = [(row["user_id"], row["seed"], row["page"]) for row in log.pages().to_pylist()]
    assert len(keys) == len(set(keys))


def test_gymnasiums_wrappers_fit(env: PageEnv):
    wrapped = RecordEpisodeStatistics(gym.wrappers.TimeLimit(env, 2))
    wrapped.reset(seed=0)
    wrapped.action_space.seed(0)
    over = False
    while not over:
        _, _, ended, cut, info = wrapped.step(wrapped.action_space.sample())
        over = ended or cut
    assert info["episode"]["l"] <= 2


def test_nobody_to_seat_is_told(world: World, population: TruthPopulation):
    nobody: Dataset = world.dataset.only(world.dataset.interactions[np.arange(0)])
    with pytest.raises(SimenvError, match="nobody has a history"):
        PageEnv(nobody, population, **SIZES)


@pytest.mark.slow
def test_a_stock_agent_learns_something():
    """PPO as it comes, on a world small enough to be learnt in 8,000 pages."""
    ppo = pytest.importorskip("stable_baselines3").PPO
    world = films_world(users=20, items=30)
    users = TruthPopulation(world.truth)
    users.fit(world.dataset)
    env = PageEnv(world.dataset, users, page_size=2, max_pages=2, history=2)
    model = ppo("MultiInputPolicy", env, n_steps=256, learning_rate=3e-3, seed=0, device="cpu")
    model.learn(8_000)

    def mean_reward(act: Callable[[Any], Any]) -> float:
        total = 0.0
        for seed in range(200):
            observation, _ = env.reset(seed=10_000 + seed)
            over = False
            while not over:
                observation, reward, ended, cut, _ = env.step(act(observation))
                total += float(reward)
                over = ended or cut
        return total / 200

    env.action_space.seed(0)
    random = mean_reward(lambda _: env.action_space.sample())
    trained = mean_reward(lambda observation: model.predict(observation)[0])
    assert trained > 1.25 * random


SMALL_WORLD = {"name": "films", "users": 30, "items": 60}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
@pytest.mark.parametrize("item_texts", ["described", "written"])
def test_a_copied_environment_of_agents_goes_on_as_the_original_does(copied: Callable[[Any], Any], item_texts: str):
    population = {"name": "llm", "item_texts": item_texts}
    env = gym.make("simenv/Page-v0", dataset=SMALL_WORLD, population=population, page_size=3)
    env.reset(seed=1)
    env.step(np.array([3, 4, 5]))
    other = copied(env)
    for action in ([6, 7, 8], [9, 10, 11]):
        one, two = env.step(np.array(action)), other.step(np.array(action))
        assert one[1:4] == two[1:4]
        assert one[4]["words"] == two[4]["words"]
        assert one[4]["remembered"] == two[4]["remembered"]
        assert np.array_equal(one[4]["grades"], two[4]["grades"])
        if one[2] or one[3]:
            break


def test_the_info_of_an_agents_page_is_its_whole_decision():
    env = gym.make("simenv/Page-v0", dataset=SMALL_WORLD, population="llm", page_size=3)
    env.reset(seed=1)
    info = env.step(np.array([3, 4, 5]))[4]
    assert info["readings"] == "plain"
    assert info["words"]
    assert json.loads(info["asked"])[0][0] == "page"
    assert json.loads(info["remembered"])
    assert {"grades", "ratings", "satisfaction", "exit", "exit_cause", "known", "verdicts"} <= set(info)


def test_users_that_were_fitted_once_are_not_fitted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIMENV_CACHE", str(tmp_path))
    monkeypatch.setattr("simenv.scenarios.fitted.WORTH_KEEPING", 0.0)
    told = {"dataset": {"name": "films", "users": 40, "items": 80}, "population": "choice"}
    environments._fitted.cache_clear()
    before = gym.make("simenv/Page-v0", **told)
    environments._fitted.cache_clear()  # as another process would be
    monkeypatch.setattr(ChoicePopulation, "train", None)
    after = gym.make("simenv/Page-v0", **told)
    pages = [[(env.reset(seed=3), env.step(np.arange(10)))[1][0] for env in (one,)] for one in (before, after)]
    assert str(pages[0]) == str(pages[1])
    environments._fitted.cache_clear()
