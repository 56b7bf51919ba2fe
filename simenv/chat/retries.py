"""Asking again what may go better later: a bounded number of times, ever later, and when the endpoint says."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from simenv.options import check_whole

from .budget import Budget, Metered
from .faults import Passing
from .model import Answer, ChatModel, Question

LONGEST = 60.0  # seconds between two attempts, unless the endpoint asks for more


class Retried:
    """A model that is asked up to `attempts` times where no answer comes.

    The wait doubles from `first` seconds on, less up to a half by chance, so that many who failed together do not
    come again together. Who is told to wait longer does, up to `patience` seconds; beyond that nothing is waited for.
    """

    def __init__(self, model: ChatModel, attempts: int = 6, first: float = 0.5, patience: float = 300.0) -> None:
        check_whole(attempts=attempts)
        self.model, self.attempts, self.first, self.patience = model, attempts, first, patience
        self.retries = 0  # so far

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return those of the model: asking again changes no answer."""
        return self.model.settings

    def meter(self, budget: Budget) -> bool:
        """Count the model's requests in a budget, if it knows them: each attempt may cost."""
        return isinstance(self.model, Metered) and self.model.meter(budget)

    async def ask(self, question: Question) -> Answer:
        """Return the answer of the first attempt that gets one, or raise what stood in the way of the last."""
        for attempt in range(1, self.attempts):
            try:
                return await self.model.ask(question)
            except Passing as error:
                asked = error.retry_after or 0.0
                if asked > self.patience:
                    raise
            self.retries += 1
            # Of time, not of the run: no answer depends on it, so it needs no stream of the seed's.
            wait = min(LONGEST, self.first * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
            await asyncio.sleep(asked + wait if asked else wait)
        try:
            return await self.model.ask(question)
        except Passing as error:
            what = f"{error} (the last of {self.attempts} attempts)"
            told = Passing(what, error.retry_after, error.status)
        raise told

    async def close(self) -> None:
        """Close the model."""
        await self.model.close()
