"""Many conversations at once, on an event loop of their own: whoever asks need not be asynchronous himself.

The loop runs in a thread, so that it also works where another loop runs already, as in a notebook. There is one for
all, so that connections outlast those who opened them.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from simenv.errors import SimenvError

Name = TypeVar("Name")
Found = TypeVar("Found")


class Crowd(Generic[Name, Found]):
    """Runs coroutines together, and hands over what they come to as they end."""

    def __init__(self) -> None:
        self._ended: SimpleQueue[tuple[Name, asyncio.Task[Found]]] = SimpleQueue()
        self._tasks: set[asyncio.Task[Found]] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of a crowd is copied: who copies it begins with nobody under way."""
        if self._tasks or not self._ended.empty():
            raise SimenvError("conversations are under way; copy or pickle between pages, not during one")
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]

    def start(self, deeds: Iterable[tuple[Name, Coroutine[Any, Any, Found]]]) -> None:
        """Let these begin; each has a name to know it by."""
        the_loop().call_soon_threadsafe(self._begin, list(deeds))

    def ended(self) -> list[tuple[Name, Found]]:
        """Return what those came to that ended since, at least one; the first that failed stops all."""
        try:
            some = [self._ended.get()]
            while True:
                try:
                    some.append(self._ended.get_nowait())
                except Empty:
                    break
            return [(name, task.result()) for name, task in some]
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    def all(self, deeds: Iterable[tuple[Name, Coroutine[Any, Any, Found]]]) -> dict[Name, Found]:
        """Return what each of these comes to, by its name, once the last has ended; no other is under way."""
        some, found = list(deeds), dict[Name, Found]()
        self.start(some)
        while len(found) < len(some):
            found |= dict(self.ended())
        return found

    def stop(self) -> None:
        """Stop all that run, and forget them."""
        asyncio.run_coroutine_threadsafe(self._cancel(), the_loop()).result()
        self._ended = SimpleQueue()

    def _begin(self, deeds: list[tuple[Name, Coroutine[Any, Any, Found]]]) -> None:
        for name, deed in deeds:
            task = asyncio.ensure_future(deed)
            self._tasks.add(task)
            task.add_done_callback(lambda task, name=name: self._end(name, task))  # type: ignore[misc]

    def _end(self, name: Name, task: "asyncio.Task[Found]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever comes for it; if nobody does, another's was told
            self._ended.put((name, task))

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_LOOPS: dict[int, asyncio.AbstractEventLoop] = {}  # by process: a fork has no threads of its parent's


def the_loop() -> asyncio.AbstractEventLoop:
    """Return the loop on which everybody talks."""
    here = os.getpid()
    if here not in _LOOPS:
        _LOOPS[here] = asyncio.new_event_loop()
        threading.Thread(target=_LOOPS[here].run_forever, name="simenv conversations", daemon=True).start()
    return _LOOPS[here]
