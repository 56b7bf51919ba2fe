"""How close agents keep an endpoint to all that it can do, beside plain clients asking the same server.

A server of its own process takes 64 questions at once, 200 ms each: 320 a second is all there is. The agents browse
pages of four of a random policy and never leave before the fifth, so all that is measured is the way there and back.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from os.path import commonprefix
from typing import Any

import numpy as np

from simenv.agents.llm import LLMPopulation
from simenv.chat.model import Question
from simenv.chat.scripted import Scripted
from simenv.films import films_world
from simenv.loop import PageLoop
from simenv.play import play
from simenv.recommenders.random import Random
from simenv.splits import leave_one_out

from .record import Row, row, update

LATENCY, PAGES, PAGE_SIZE = 0.2, 5, 4
LETTER = re.compile(r"^([A-Z])\. ", re.MULTILINE)
Found = dict[str, float]


def main() -> None:
    """Measure ours and the others in turn, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--slots", type=int, action="append", help="of the server; 64 and 8 unless told")
    parser.add_argument("--rounds", type=int, default=3)
    told = parser.parse_args()
    for slots in told.slots or [64, 8]:
        users = told.users if slots >= 64 else told.users // 8
        figures: dict[str, list[Found]] = {}
        for _ in range(told.rounds):
            with_server(slots, partial(measure, slots=slots, users=users, found=figures))
        update("asking", "make bench-asking", rows(figures, slots), f"{slots} at once: ")
    shares = prefix_shares(min(told.users, 200))
    note = "of a page's prompt, what the page before began with alike: servers need not read it again"
    update(
        "asking",
        "make bench-asking",
        [row("prompts: share of a common prefix", shares, "share", note=note)],
        "prompts: ",
    )


def measure(url: str, *, slots: int, users: int, found: dict[str, list[Found]]) -> None:
    """Let each of the clients ask the server, one after the other."""
    calls, prompts = agents(url, slots, users, "direct")
    found.setdefault("agents", []).append(calls)
    found.setdefault("aiohttp and json", []).append(timed(plain(url, slots, prompts), len(prompts)))
    if slots >= 64:
        found.setdefault("agents, as many as slots", []).append(agents(url, slots, slots, "direct")[0])
        found.setdefault("the openai client, as many agents as slots", []).append(
            agents(url, slots, slots, "compatible")[0]
        )


def agents(url: str, slots: int, users: int, path: str) -> tuple[Found, list[bytes]]:
    """Return how a population of agents did, and how long what each call said was."""
    split = leave_one_out(films_world(users=max(users, 40), items=1000).dataset)
    os.environ["OPENAI_API_KEY"], os.environ["OPENAI_BASE_URL"] = "none", url
    model = {"kind": "endpoint", "model": "slow", "ways": ["schema"], "slots": slots, "path": path}
    population, policy = LLMPopulation(model=model), Random()
    population.fit(split.train)
    policy.fit(split.train)
    for user in range(users):
        population.persona(user)
    loop = PageLoop(split.train, population, page_size=PAGE_SIZE, max_pages=PAGES)
    begin, cpu = time.perf_counter(), time.process_time()
    for _, turns in play(loop, policy, np.arange(users), 0, batch_size=users):
        assert sum(len(turn.page.users) for turn in turns) == users * PAGES
    seconds, spent = time.perf_counter() - begin, time.process_time() - cpu
    calls = sum(population.tally.counts.values())
    assert population.tally.failed == 0
    text = population.persona(0)
    size = len(json.dumps(text.plain())) + 2500
    population.close()
    return {"calls": calls, "rate": calls / seconds, "cpu": 1000 * spent / calls}, [b"x" * size] * calls


class Heard(Scripted):
    """The stand-in, which stays and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: dict[tuple[str, int], list[str]] = {}

    def answer(self, question: Question) -> dict[str, Any]:
        """Return its answer, but for leaving."""
        if question.kind == "page":
            text = "".join(message.text for message in question.messages)
            self.prompts.setdefault((question.messages[0].text, question.draw), []).append(text)
        return super().answer(question) | ({"then": "stay"} if question.kind == "page" else {})


def prefix_shares(users: int) -> list[float]:
    """Return, for each two successive prompts of an agent, how much of the second the first begins with."""
    split = leave_one_out(films_world(users=users, items=1000).dataset)
    model, policy = Heard(), Random()
    population = LLMPopulation(model=model)
    population.fit(split.train)
    policy.fit(split.train)
    loop = PageLoop(split.train, population, page_size=PAGE_SIZE, max_pages=PAGES)
    for _ in play(loop, policy, np.arange(users), 0, batch_size=users):
        pass
    pairs = [pair for mine in model.prompts.values() for pair in pairwise(mine)]
    return [len(commonprefix(pair)) / len(pair[1]) for pair in pairs]  # noqa: RUF071  (letter by letter is meant)


async def plain(url: str, slots: int, prompts: list[bytes]) -> None:
    """Ask as many questions of about the same length, with nothing around."""
    import aiohttp

    gate = asyncio.Semaphore(slots)
    schema = {"json_schema": {"schema": {"properties": {"belief": {}}}}}

    async def one(prompt: bytes) -> None:
        body = json.dumps(
            {"messages": [{"role": "user", "content": prompt.decode()}], "response_format": schema}
        ).encode()
        async with gate, session.post(f"{url}/chat/completions", data=body) as answer:
            told = json.loads(await answer.read())
            json.loads(told["choices"][0]["message"]["content"])

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=slots)) as session:
        await asyncio.gather(*(one(prompt) for prompt in prompts))


def timed(deed: Any, calls: int) -> Found:
    """Return how a plain client did."""
    begin, cpu = time.perf_counter(), time.process_time()
    asyncio.run(deed)
    seconds, spent = time.perf_counter() - begin, time.process_time() - cpu
    return {"calls": calls, "rate": calls / seconds, "cpu": 1000 * spent / calls}


def rows(figures: dict[str, list[Found]], slots: int) -> list[Row]:
    """Return the rates as shares of what the server can do, and the client's CPU a call."""
    capacity, head = slots / LATENCY, f"{slots} at once: "
    found = []
    for name, runs in figures.items():
        note = f"{runs[0]['calls']:.0f} calls, {capacity:.0f} a second at most"
        found.append(
            row(f"{head}{name}, share of capacity", [run["rate"] / capacity for run in runs], "share", note=note)
        )
        found.append(row(f"{head}{name}, CPU a call", [run["cpu"] for run in runs], "ms", note=note))

    def ratio(figure: str, one: str, other: str, key: str, goal: float) -> None:
        pairs = zip(figures[one], figures[other], strict=True)
        found.append(row(f"{head}{figure}", [a[key] / b[key] for a, b in pairs], "ratio", goal=goal))

    ratio(
        "agents / aiohttp and json, calls a second", "agents", "aiohttp and json", "rate", 0.9 if slots >= 64 else 0.95
    )
    if slots >= 64:
        few = "agents, as many as slots"
        ratio("CPU a call, the openai client / direct", "the openai client, as many agents as slots", few, "cpu", 4)
        ratio(f"CPU a call, {slots} agents / all", few, "agents", "cpu", 0.67)
    return found


def with_server(slots: int, deed: Callable[[str], None]) -> None:
    """Do something while the server runs."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, slots), daemon=True)
    process.start()
    try:
        deed(f"http://127.0.0.1:{ours.recv()}/v1")
    finally:
        process.terminate()
        process.join()


def serve(pipe: Any, slots: int) -> None:
    """Answer every question within its form after the latency, so many at once."""
    from aiohttp import web

    gate = asyncio.Semaphore(slots)

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        async with gate:
            await asyncio.sleep(LATENCY)
        text = json.dumps(answer_of(body))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 800, "completion_tokens": 80, "total_tokens": 880}
        return web.json_response(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "slow", "choices": [choice], "usage": usage}
        )

    async def run() -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def answer_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a question by the names of what is asked."""
    wanted = set(body["response_format"]["json_schema"]["schema"]["properties"])
    if "items" in wanted:
        page = body["messages"][-1]["content"].rpartition("# Page")[2]
        items = [
            {
                "letter": letter,
                "act": "pass" if place % 2 else "take",
                "rating": 0 if place % 2 else 4,
                "feeling": "fine",
            }
            for place, letter in enumerate(LETTER.findall(page))
        ]
        return {"items": items, "satisfaction": 7, "then": "stay", "why": "there is more for me"}
    if "belief" in wanted:
        return {"belief": "I like what I have seen."}
    return {"satisfaction": 7, "why": "it was fine"}


if __name__ == "__main__":
    main()
