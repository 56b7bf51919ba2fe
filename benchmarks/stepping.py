"""How fast pages are stepped: one user, a thousand, and the runner's own share.

All variants run in turn in every round, on one thread, and are told in CPU seconds of this process; a
ratio is taken within a round. Pages of 20 drawn at random from 3,706 items; the full `choice` user.
"""

import os

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import simenv  # noqa: F401  (registers its environment)
from simenv.arrays import BitArray, IntArray
from simenv.context import Context
from simenv.errors import MissingExtra
from simenv.eventlog import EventLog
from simenv.films import films_world
from simenv.loop import PageLoop
from simenv.metrics import measure
from simenv.pages import Page, Reaction
from simenv.play import play
from simenv.rundir import RunDir

from .floor import Floor
from .record import row, write

try:
    import sardine  # noqa: F401  (registers its environments)
except ImportError:
    raise SystemExit(str(MissingExtra("the stepping benchmark", "bench"))) from None

ROUNDS = 7
SIZE, ITEMS, SEATS = 20, 3706, 1024
SETTING = {
    "dataset": {"name": "films", "users": 6040, "items": ITEMS},
    "population": "choice",
    "page_size": SIZE,
    "max_pages": 50,
}


def main() -> None:
    """Measure all variants in turn and write the figures."""
    rng = np.random.default_rng(0)
    single = gymnasium.make("simenv/Page-v0", **SETTING)
    vector = gymnasium.make_vec(
        "simenv/Page-v0",
        num_envs=SEATS,
        vectorization_mode="vector_entry_point",
        **SETTING,  # type: ignore[arg-type]
    )
    peer = gymnasium.make("sardine/SlateTopK-Bored-v0")
    one, many = Floor(1), Floor(SEATS)
    pages = rng.integers(ITEMS, size=(4000, SIZE))
    crowd = rng.integers(ITEMS, size=(150, SEATS, SIZE))
    slates = rng.integers(1000, size=(1500, 10))
    variants: dict[str, Callable[[], float]] = {
        "simenv, 1 user": lambda: episodes(single, pages),
        "SARDINE SlateTopK-Bored": lambda: episodes(peer, slates),
        "floor, 1 user": lambda: floors(one, pages[:, None]),
        "simenv, 1,024 users": lambda: crowds(vector, crowd),
        "floor, 1,024 users": lambda: floors(many, crowd),
    }
    for measure_once in variants.values():
        measure_once()  # warm-up
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, measure_once in variants.items():
            speeds[name].append(measure_once())
    own = [runner_cost() for _ in range(ROUNDS + 1)][1:]

    def ratio(above: str, below: str) -> list[float]:
        return [a / b for a, b in zip(speeds[above], speeds[below], strict=True)]

    cost = "runner's own cost per user and page"
    rows = [
        row("1 user / SARDINE", ratio("simenv, 1 user", "SARDINE SlateTopK-Bored"), "ratio", goal=2.5),
        row("1 user / floor", ratio("simenv, 1 user", "floor, 1 user"), "ratio", goal=0.6),
        row("1,024 users / 1 user", ratio("simenv, 1,024 users", "simenv, 1 user"), "ratio", goal=20),
        row("1,024 users / floor", ratio("simenv, 1,024 users", "floor, 1,024 users"), "ratio", goal=0.6),
        row(cost, own, "µs", goal=20, note="loop, log and metrics, without population and policy"),
        *(row(name, values, "user-steps per CPU second") for name, values in speeds.items()),
    ]
    write("stepping", "make bench", rows, at_most=[cost])


def episodes(env: Any, actions: IntArray) -> float:
    """Return one user's steps per CPU second, new users' arrivals included."""
    env.reset(seed=0)
    begin = time.process_time()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return len(actions) / (time.process_time() - begin)


def crowds(env: Any, actions: IntArray) -> float:
    """Return the user-steps per CPU second of a vector environment; a seat that is only refilled takes no step."""
    env.reset(seed=0)
    done = np.zeros(SEATS, dtype=bool)
    steps = 0
    begin = time.process_time()
    for action in actions:
        steps += SEATS - int(done.sum())
        _, _, terminated, truncated, _ = env.step(action)
        done = terminated | truncated
    return steps / (time.process_time() - begin)


def floors(floor: Floor, actions: IntArray) -> float:
    """Return the floor's user-steps per CPU second."""
    begin = time.process_time()
    for action in actions:
        floor.step(action)
    return actions.shape[0] * actions.shape[1] / (time.process_time() - begin)


class Still:
    """A policy and a population that cost next to nothing: pages and reactions are made beforehand."""

    def __init__(self, users: int) -> None:
        rng = np.random.default_rng(0)
        self.pages = rng.permuted(np.tile(np.arange(ITEMS, dtype=np.int32), (users, 1)), axis=1)
        self.grades = rng.integers(5, size=(users, SIZE)).astype(np.int8)
        self.ratings = np.where(self.grades >= 3, self.grades, np.nan).astype(np.float32)

    def fit(self, dataset: object) -> None:
        """Learn nothing."""

    def recommend(self, context: Context, k: int) -> IntArray:
        """Return the next piece of each user's page roll."""
        begin = int(context.number[0]) * k
        return self.pages[context.users, begin : begin + k]

    def enter(self, users: IntArray, luck: BitArray) -> "Still":  # noqa: ARG002
        """Seat nobody in particular."""
        return self

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Keep still."""

    def react(self, page: Page) -> Reaction:
        """Return the same reactions every time."""
        count = len(page.users)
        return Reaction(
            self.grades[page.users],
            self.ratings[page.users],
            np.full(count, 5.0, dtype=np.float32),
            np.zeros(count, dtype=bool),
            np.full(count, "", dtype=object),
        )


def runner_cost(users: int = 1000, pages: int = 10, policies: int = 3) -> float:
    """Return the CPU microseconds of loop, log and metrics for each user and page of a run."""
    dataset = films_world(users=users, items=ITEMS).dataset
    still = Still(users)
    loop = PageLoop(dataset, still, page_size=SIZE, max_pages=pages)
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        run.write_world(dataset)
        begin = time.process_time()
        for policy in range(policies):
            for _, turns in play(loop, still, np.arange(users), 0, batch_size=1024):
                EventLog(run.folder).write(f"still-{policy}", 0, dataset, turns)
        measure(run)
        spent = time.process_time() - begin
    return 1e6 * spent / (users * pages * policies)


if __name__ == "__main__":
    main()
