"""The Gymnasium environments: a page of items is the action, one user or many react.

Single: `PageEnv`. Vector: `PageVectorEnv`, where seat i draws the same users with the same luck as a
single environment that was reset with seed + i. Both are faces of the page loop.
"""

from typing import Any, SupportsFloat, TypeAlias, Unpack

import gymnasium as gym
import numba
import numpy as np
from gymnasium import spaces
from gymnasium.core import ActType, ObsType
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from .arrays import BoolArray, FloatArray, IntArray
from .context import Context
from .dataset import Dataset
from .errors import PageError, SimenvError
from .pages import GRADE_WORDS, Grade, Reaction, Turn
from .population import Population
from .seats import Reward, Seating, Seats, reward_of, set_seats

Observation: TypeAlias = dict[str, Any]
Info: TypeAlias = dict[str, Any]
TRACE = ("known", "words", "readings", "remembered", "verdicts", "asked")  # of a reaction, where its users have them


class PageEnv(gym.Env[Observation, NDArray[np.int64]]):
    """One user at a time, who looks at page after page until he leaves.

    Action: `page_size` item indices, best first. An item that stands twice, or was shown before in the
    session, leaves its place empty and is told in `info["repeated"]`. Observation: the user, the page to
    come, and the last items met with their grades (-1 and 0 where there are none), training history
    included. `terminated` by the user's exit alone, `truncated` by the page limit.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(
        self,
        dataset: Dataset,
        population: Population,
        *,
        reward: str | Reward = "likes",
        render_mode: str | None = None,
        **seating: Unpack[Seating],
    ) -> None:
        self.seats = set_seats(dataset, population, **seating)
        self.reward = reward_of(reward)
        if render_mode not in (None, "ansi"):
            raise SimenvError(f"render_mode is {render_mode!r}; it can be 'ansi' or None")
        self.observation_space, self.action_space = page_spaces(self.seats)
        self.render_mode = render_mode
        self._last: Turn | None = None
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Seat a user; `options={"user": id}` names one, else the seed draws one after another."""
        super().reset(seed=seed)
        wanted = _wanted_user(self.seats.dataset, options)
        if seed is None and wanted is None and self.seats.begun:
            self.seats.renew(np.zeros(1, dtype=np.int64))
        else:
            first = seed if seed is not None else int(self.np_random.integers(2**31))
            self.seats.fill(np.array([first]), wanted)
        self._last, self._over = None, False
        return self._observe(), {"user_id": self.seats.dataset.users.ids[self.seats.loop.users[0]]}

    def step(self, action: NDArray[np.int64]) -> tuple[Observation, SupportsFloat, bool, bool, Info]:
        """Show the user a page."""
        if self._over:
            raise PageError("the session is over, or has not begun; call reset()")
        page = np.asarray(action)
        turn = self._last = self.seats.turn(page[None])
        reaction = turn.reaction
        terminated, truncated = bool(reaction.exits[0]), bool(turn.truncated[0])
        self._over = terminated or truncated
        info = {
            "items": turn.page.items[0],
            "grades": reaction.grades[0],
            "ratings": _told(reaction.ratings)[0],
            "satisfaction": float(reaction.satisfaction[0]),
            "exit": terminated,
            "exit_cause": reaction.causes[0],
            "repeated": turn.repeated[0],
        } | _trace(reaction, 0)
        return self._observe(), float(self.reward(turn)[0]), terminated, truncated, info

    def context(self) -> Context:
        """Return what a policy may know before it fills the next page."""
        return self.seats.loop.context()

    def render(self) -> str:  # type: ignore[override]
        """Return the last page as text: a line an item, with what became of it."""
        if self._last is None:
            return "no page yet"
        return _page_text(self._last, self.seats.dataset)

    def close(self) -> None:
        """Write what is left to the event log, if there is one."""
        self.seats.close()

    def _observe(self) -> Observation:
        seats = self.seats
        return {
            "user": np.int64(seats.loop.users[0]),
            "page": np.int64(seats.loop.number[0]),
            "history": seats.history[0],
            "grades": seats.grades[0],
        }


class PageVectorEnv(VectorEnv[Observation, NDArray[np.int64], NDArray[Any]]):
    """Many users at once, each in a seat that the next user takes when he has left.

    Autoreset as Gymnasium defines it: `NEXT_STEP` (the default), `SAME_STEP` or `DISABLED`.
    """

    def __init__(
        self,
        dataset: Dataset,
        population: Population,
        *,
        num_envs: int = 1,
        reward: str | Reward = "likes",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **seating: Unpack[Seating],
    ) -> None:
        if num_envs < 1:
            raise SimenvError(f"num_envs is {num_envs}; it must be at least 1")
        self.num_envs = num_envs
        self.seats = set_seats(dataset, population, **seating)
        self.reward = reward_of(reward)
        if render_mode not in (None, "ansi"):
            raise SimenvError(f"render_mode is {render_mode!r}; it can be 'ansi' or None")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": ["ansi"]}
        self.render_mode = render_mode
        self.single_observation_space, self.single_action_space = page_spaces(self.seats)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._last: Turn | None = None
        self._done: BoolArray = np.ones(num_envs, dtype=bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Seat a user in every seat, or in those of `options["reset_mask"]`; seat i draws by seed + i."""
        mask = (options or {}).get("reset_mask")
        if mask is not None:
            seats = np.flatnonzero(mask)
            self.seats.renew(seats, None if seed is None else self._seeds(seed)[seats])
            self._done = self._done & ~np.asarray(mask)
            return self._observe(), self._arrivals(seats)
        super().reset(seed=seed if isinstance(seed, int) else None)
        self.seats.fill(self._seeds(seed))
        self._done = np.zeros(self.num_envs, dtype=bool)
        return self._observe(), self._arrivals(np.arange(self.num_envs))

    def step(self, actions: NDArray[np.int64]) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        """Show every user a page; where the last step ended a session, the next user comes instead."""
        pages = np.asarray(actions)
        if not self.seats.begun:
            raise PageError("no session has begun; call reset()")
        if not self._done.any():
            return self._step_all(pages)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            raise PageError(f"sessions {np.flatnonzero(self._done)[:5]} are over; reset them by options['reset_mask']")
        return self._step_some(pages)

    def context(self) -> Context:
        """Return what a policy may know before it fills the next pages."""
        return self.seats.loop.context()

    def render(self) -> tuple[str, ...]:
        """Return each user's last page as text."""
        if self._last is None:
            return ("no page yet",) * self.num_envs
        texts = ["no page yet"] * self.num_envs
        for row, seat in enumerate(self._last.page.seats):
            texts[seat] = _page_text(self._last, self.seats.dataset, row)
        return tuple(texts)

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002
        """Write what is left to the event log, if there is one."""
        self.seats.close()

    def _step_all(self, pages: IntArray) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        turn = self._last = self.seats.turn(pages)
        rewards = np.asarray(self.reward(turn), dtype=np.float64)
        terminated, truncated = turn.reaction.exits, turn.truncated
        done = terminated | truncated
        info = _record(turn)
        info |= {f"_{name}": np.ones(self.num_envs, dtype=bool) for name in list(info)}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            if done.any():
                info |= self._farewell(done, info)
        else:
            self._done = done
        return self._observe(), rewards, terminated, truncated, info

    def _step_some(self, pages: IntArray) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], Info]:
        """Seat new users where a session ended at the last step, and show the others a page."""
        there = np.flatnonzero(~self._done)
        come = np.flatnonzero(self._done)
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.zeros(self.num_envs, dtype=bool)
        info: Info = {}
        if len(there):
            turn = self._last = self.seats.turn(pages[there], there)
            rewards[there] = self.reward(turn)
            terminated[there], truncated[there] = turn.reaction.exits, turn.truncated
            for name, values in _record(turn).items():
                spread = np.zeros((self.num_envs, *values.shape[1:]), dtype=values.dtype)
                if values.ndim == 2:
                    _spread(values, there, spread)
                else:
                    spread[there] = values
                info |= {name: spread, f"_{name}": ~self._done}
        self.seats.renew(come)
        info |= self._arrivals(come)
        self._done = terminated | truncated
        return self._observe(), rewards, terminated, truncated, info

    def _farewell(self, done: BoolArray, info: Info) -> Info:
        """Return the last observation and record of those who leave, and seat the next users."""
        last = self._observe()
        seats = np.flatnonzero(done)
        final = np.full(self.num_envs, None, dtype=object)
        columns = (last[name][seats] for name in ("user", "page", "history", "grades"))
        final[seats] = [
            {"user": user, "page": page, "history": history, "grades": grades}
            for user, page, history, grades in zip(*columns, strict=True)
        ]
        record = {name: values for name, values in info.items() if not name.startswith("_")}
        stays = {f"_{name}": ~done for name in record}
        record |= {f"_{name}": done for name in record}
        self.seats.renew(seats)
        farewell = {"final_obs": final, "_final_obs": done, "final_info": record, "_final_info": done}
        return stays | farewell | self._arrivals(seats)

    def _arrivals(self, seats: IntArray) -> Info:
        ids = self.seats.dataset.users.ids
        who = np.zeros(self.num_envs, dtype=ids.dtype)
        who[seats] = ids[self.seats.loop.users[seats]]
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[seats] = True
        return {"user_id": who, "_user_id": mask}

    def _seeds(self, seed: int | list[int | None] | None) -> IntArray:
        if isinstance(seed, list):
            if len(seed) != self.num_envs:
                raise PageError(f"{len(seed)} seeds for {self.num_envs} seats; give one each")
            return np.array([int(self.np_random.integers(2**31)) if one is None else one for one in seed])
        first = seed if seed is not None else int(self.np_random.integers(2**30))
        return first + np.arange(self.num_envs)

    def _observe(self) -> Observation:
        seats = self.seats
        return {
            "user": seats.loop.users.astype(np.int64),
            "page": seats.loop.number.astype(np.int64),
            "history": seats.history,
            "grades": seats.grades,
        }


class StrictPages(gym.Wrapper[ObsType, ActType, ObsType, ActType]):
    """Raises where an item stands twice on a page, or was shown before in the session."""

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, Info]:
        """Show a page whose every item must be new to the session."""
        context = self.unwrapped.context()  # type: ignore[attr-defined]
        page = np.asarray(action)
        items, counts = np.unique(page[page >= 0], return_counts=True)
        if (counts > 1).any():
            raise PageError(f"items {items[counts > 1].tolist()} stand twice on the page")
        again = np.intersect1d(items, context.shown)
        if len(again):
            raise PageError(f"items {again.tolist()} were shown before in this session")
        return self.env.step(action)


def page_spaces(seats: Seats) -> tuple[spaces.Dict, spaces.MultiDiscrete]:
    """Return the observation space and the action space of one seat."""
    loop, history = seats.loop, seats.length
    count = loop.item_count
    observation = spaces.Dict(
        {
            "user": spaces.Discrete(len(seats.dataset.users)),
            "page": spaces.Discrete(loop.max_pages + 1),
            "history": spaces.Box(-1, count - 1, (history,), dtype=np.int32),
            "grades": spaces.Box(0, int(max(Grade)), (history,), dtype=np.int8),
        }
    )
    return observation, spaces.MultiDiscrete(np.full(loop.page_size, count))


def _wanted_user(dataset: Dataset, options: dict[str, Any] | None) -> IntArray | None:
    if not options or "user" not in options:
        return None
    found = np.flatnonzero(dataset.users.ids == options["user"])
    if not len(found):
        raise PageError(f"no user {options['user']!r} among the {len(dataset.users)} of {dataset.name}")
    return found.astype(np.int32)


@numba.njit(cache=True)
def _spread(values, seats, spread):  # type: ignore[no-untyped-def]
    """Write each row to its seat."""
    for row, seat in enumerate(seats):
        spread[seat] = values[row]


def _told(ratings: FloatArray) -> FloatArray:
    """Return the ratings with 0 where none was given: NaN equals nothing, not even itself."""
    return np.where(np.isnan(ratings), np.float32(0), ratings)


def _trace(reaction: Reaction, row: int) -> Info:
    """Return what a user said and thought beside their grades; what users of this kind never tell is left out."""
    told = {name: getattr(reaction, name) for name in TRACE}
    always = {"known": None, "words": None}
    return always | {name: values[row] for name, values in told.items() if values is not None}


def _record(turn: Turn) -> Info:
    reaction = turn.reaction
    record = {
        "items": turn.page.items,
        "grades": reaction.grades,
        "ratings": _told(reaction.ratings),
        "satisfaction": reaction.satisfaction.astype(np.float64),
        "exit": reaction.exits,
        "exit_cause": reaction.causes,
        "repeated": turn.repeated,
    }
    for name in TRACE:
        told = getattr(reaction, name)
        if told is not None:
            record[name] = told if isinstance(told, np.ndarray) else np.array([*told, None], dtype=object)[:-1]
    return record


def _page_text(turn: Turn, dataset: Dataset, row: int = 0) -> str:
    lines = [f"user {dataset.users.ids[turn.page.users[row]]}, page {turn.page.number[row]}"]
    for rank, item in enumerate(turn.page.items[row]):
        title = "(empty)" if item < 0 else dataset.catalog.title(int(item))
        rating = turn.reaction.ratings[row, rank]
        stars = "" if np.isnan(rating) else f" {rating:g}"
        lines.append(f"{rank:3} {title}: {GRADE_WORDS[turn.reaction.grades[row, rank]]}{stars}")
    cause = turn.reaction.causes[row]
    lines.append(f"satisfaction {turn.reaction.satisfaction[row]:.1f}{f', leaves: {cause}' if cause else ''}")
    return "\n".join(lines)
