"""What a probe finds out once for all who need it."""

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Generic, TypeVar

from simenv.errors import ChatError

Found = TypeVar("Found")


class Finding(Generic[Found]):
    """What is known, or is found out by the first who needs it; who waits for it shares its failure."""

    def __init__(self, value: Found | None = None) -> None:
        self.value = value
        self._probing: asyncio.Future[ChatError | None] | None = None

    async def get(self, probe: Callable[[], Awaitable[Found]]) -> Found:
        """Return it; a probe that fails settles nothing."""
        while self.value is None:
            if self._probing is None:
                await self._settle(probe)
            elif (trouble := await asyncio.shield(self._probing)) is not None:
                raise copy(trouble)
        return self.value

    def forget(self) -> None:
        """Forget a probe whose loop is gone."""
        self._probing = None

    async def _settle(self, probe: Callable[[], Awaitable[Found]]) -> None:
        probing = self._probing = asyncio.get_running_loop().create_future()
        trouble: ChatError | None = None
        try:
            self.value = await probe()
        except ChatError as error:
            trouble = error
            raise
        finally:
            self._probing = None
            probing.set_result(trouble)
