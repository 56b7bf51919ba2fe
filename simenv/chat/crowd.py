"""Many conversations at once, on an event loop of their own: whoever asks need not be asynchronous himself.

The loop runs in a thread, so that it also works where another loop runs already, as in a notebook.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class Crowd:
    """Runs coroutines together."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def all(self, deeds: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Return what each comes to, in their order; the first that fails stops the others."""
        future = asyncio.run_coroutine_threadsafe(_together(deeds), self._running())
        try:
            return future.result()
        except BaseException:  # Ctrl-C too
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="simenv crowd", daemon=True).start()
        return self._loop

    def close(self) -> None:
        """Stop the loop; the crowd can be used again afterwards."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None


async def _together(deeds: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    tasks = [asyncio.ensure_future(deed) for deed in deeds]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
