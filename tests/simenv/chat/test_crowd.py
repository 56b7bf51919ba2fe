"""Conversations at once: handed over as they end, stopped together when one fails."""

import asyncio
import threading

import pytest

from simenv.chat.crowd import Crowd, the_loop


async def after(event: asyncio.Event | None, found: int) -> int:
    if event is not None:
        await event.wait()
    return found


def test_each_comes_by_its_name():
    crowd: Crowd[str, int] = Crowd()
    found = crowd.all((str(number), after(None, number)) for number in range(100))
    assert found == {str(number): number for number in range(100)}
    assert crowd.all([]) == {}


def test_nobody_waits_for_the_slowest():
    crowd: Crowd[str, int] = Crowd()
    gate = asyncio.Event()
    crowd.start([("slow", after(gate, 1)), ("quick", after(None, 2))])
    assert crowd.ended() == [("quick", 2)]
    the_loop().call_soon_threadsafe(gate.set)
    assert crowd.ended() == [("slow", 1)]


def test_the_first_that_fails_stops_the_others():
    crowd: Crowd[str, int] = Crowd()
    stopped = threading.Event()

    async def waits() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise
        return 1

    async def fails() -> int:
        raise ValueError("no answer")

    crowd.start([("waits", waits()), ("fails", fails())])
    with pytest.raises(ValueError, match="no answer"):
        crowd.ended()
    assert stopped.wait(5)
    crowd.start([("next", after(None, 3))])
    assert crowd.ended() == [("next", 3)]


def test_it_works_where_a_loop_runs_already():
    async def in_a_notebook() -> dict[str, int]:
        crowd: Crowd[str, int] = Crowd()
        crowd.start([("one", after(None, 1))])
        return dict(crowd.ended())

    assert asyncio.run(in_a_notebook()) == {"one": 1}


def test_many_crowds_share_a_thread():
    for _ in range(3):
        crowd: Crowd[str, int] = Crowd()
        crowd.start([("one", after(None, 1))])
        crowd.ended()
    assert sum(thread.name == "simenv conversations" for thread in threading.enumerate()) == 1
