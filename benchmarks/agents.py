"""What agents cost besides the model: a turn's thinking, the scheduler, and the memory of a thousand of them."""

import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable, Coroutine, Mapping
from resource import RUSAGE_SELF, getrusage
from typing import Any, ClassVar

import numpy as np

from simenv.agents.agent import Agent, Shown
from simenv.agents.llm import LLMPopulation
from simenv.agents.memory import Memory
from simenv.chat.crowd import Crowd
from simenv.chat.model import Answer, Question
from simenv.films import films_world
from simenv.splits import leave_one_out

from .record import row, write

ROUNDS, TURNS, PAGE_SIZE, FULL = 9, 500, 4, 50
AGENTS, IN_FLIGHT, HANDED = 1000, 64, 20_000
MEGABYTE = 2**20
TURN = f"prompt, reading and a memory of {FULL}, pages of {PAGE_SIZE}, one thread"


def main() -> None:
    """Measure, print and write."""
    turns = turn_costs()
    ours, bare = [], []
    for _ in range(ROUNDS):
        bare.append(timed(bare_hand_overs))
        ours.append(timed(crowd_hand_overs))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        megabytes = pool.apply(memory_of_agents)
    handed = "CPU of both threads; bare: a task for each, its end handed over by a queue of asyncio's"
    rows = [
        row("a turn without the call", turns, "ms CPU", goal=0.1, note=TURN),
        row("a hand-over of the scheduler", ours, "ms CPU", note=handed),
        row("a bare hand-over", bare, "ms CPU", note=handed),
        row("a hand-over: scheduler / bare", [a / b for a, b in zip(ours, bare, strict=True)], "ratio", goal=5.0),
        row("memory of 1,000 agents", [megabytes], "MiB", goal=1536.0, note=f"{FULL} records each, all looked through"),
    ]
    write("agents", "make bench-agents", rows, at_most=[one.figure for one in rows])


class Prompt:
    """A model that answers at once, and always the same."""

    settings: ClassVar[Mapping[str, Any]] = {"kind": "at once"}
    deeds = (("take", 4), ("pass", 0), ("take", 3), ("skip", 0))
    page = json.dumps(
        {
            "items": [
                {"letter": "ABCD"[place], "act": act, "rating": rating, "feeling": "as good as I had hoped"}
                for place, (act, rating) in enumerate(deeds)
            ],
            "satisfaction": 7,
            "then": "stay",
            "why": "there was something for me, and I am curious about more",
        }
    )

    async def ask(self, question: Question) -> Answer:
        """Return the answer."""
        assert question.kind == "page", question.kind
        return Answer(self.page)

    async def close(self) -> None:
        """Nothing is held."""


def population() -> LLMPopulation:
    """Return agents who never stop to reflect, fitted to a small world."""
    found = LLMPopulation(model=Prompt(), memory={"reflect_after": float("inf"), "capacity": FULL})
    found.fit(leave_one_out(films_world(users=100, items=500).dataset).train)
    return found


def pages(users: LLMPopulation, count: int) -> list[list[Shown | None]]:
    """Return pages of items drawn by lot."""
    items = np.random.default_rng(0).integers(500, size=(count, PAGE_SIZE)).tolist()
    return [[users.shelf.shown(item) for item in page] for page in items]


def agent(users: LLMPopulation, user: int) -> Agent:
    """Return an agent at the beginning of a session."""
    luck = np.uint64(7 + user)
    return Agent(users.persona(user % 100), Memory(users.rules, users.meanings), luck, users.tally, users.conduct)


async def browse(users: LLMPopulation, who: Agent, some: list[list[Shown | None]]) -> None:
    """Let an agent look at pages, one after the other."""
    for page in some:
        await who.look(users.model, page)


def turn_costs() -> list[float]:
    """Return milliseconds of CPU a turn, of several rounds, the memory being full."""
    users = population()
    who, some = agent(users, 3), pages(users, TURNS)
    asyncio.run(browse(users, who, some[:FULL]))
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        asyncio.run(browse(users, who, some))
        found.append((time.process_time() - begin) / TURNS * 1000)
    return found


def timed(measured: Callable[[], None]) -> float:
    """Return milliseconds of CPU a hand-over."""
    begin = time.process_time()
    measured()
    return (time.process_time() - begin) / HANDED * 1000


async def deed() -> int:
    """Yield once, as one does who waits for an answer."""
    await asyncio.sleep(0)
    return 1


def crowd_hand_overs() -> None:
    """Keep so many under way, and begin another for each that has ended."""
    crowd: Crowd[int, int] = Crowd()
    begun = IN_FLIGHT
    crowd.start((name, deed()) for name in range(IN_FLIGHT))
    handed = 0
    while handed < HANDED:
        ended = crowd.ended()
        handed += len(ended)
        more = min(len(ended), HANDED - begun)
        begun += more
        crowd.start((name, deed()) for name, _ in ended[:more])


def bare_hand_overs() -> None:
    """Do the same with nothing but asyncio."""
    asyncio.run(_bare())


async def _bare() -> None:
    queue: asyncio.Queue[asyncio.Task[int]] = asyncio.Queue()
    tasks = set[asyncio.Task[int]]()

    def start(coroutine: Coroutine[Any, Any, int]) -> None:
        task = asyncio.ensure_future(coroutine)
        tasks.add(task)
        task.add_done_callback(queue.put_nowait)

    for _ in range(IN_FLIGHT):
        start(deed())
    begun = IN_FLIGHT
    for _ in range(HANDED):
        task = await queue.get()
        tasks.discard(task)
        task.result()
        if begun < HANDED:
            begun += 1
            start(deed())


def memory_of_agents() -> float:
    """Return how many MiB a process grows by a thousand agents whose memories are full."""
    users = population()
    some = pages(users, FULL + 5)
    asyncio.run(browse(users, agent(users, 0), some[:3]))
    before = getrusage(RUSAGE_SELF).ru_maxrss
    crowd = [agent(users, user) for user in range(AGENTS)]
    for who in crowd:
        asyncio.run(browse(users, who, some))
    assert all(len(who.memory.records) == FULL for who in crowd)
    return (getrusage(RUSAGE_SELF).ru_maxrss - before) * 1024 / MEGABYTE


if __name__ == "__main__":
    main()
