"""Whole sessions: a policy before users until the last has left. The runner's face of the page loop."""

from collections.abc import Iterator

import numpy as np

from .arrays import FloatArray, IntArray
from .context import Context
from .errors import blame
from .loop import PageLoop
from .pages import Turn
from .policy import Chancy, Observer, Policy
from .population import Eager


def play(
    loop: PageLoop, policy: Policy, users: IntArray, seed: int, *, batch_size: int, label: str = "policy"
) -> Iterator[tuple[int, list[Turn]]]:
    """Yield, a batch of users at a time, their number and every turn of their sessions.

    A policy that observes may answer one user by what it saw of others, so its users come in one batch.
    """
    size = len(users) if isinstance(policy, Observer) else batch_size
    for begin in range(0, len(users), max(size, 1)):
        batch = users[begin : begin + size]
        yield len(batch), list(turns(loop, policy, batch, seed, label))


def turns(loop: PageLoop, policy: Policy, users: IntArray, seed: int, label: str) -> Iterator[Turn]:
    """Yield the turns of users who enter together, until the last has left.

    Users who answer one by one are shown their next page at once, unless the policy learns of all at a time.
    """
    loop.enter(users, seed)
    here = np.arange(len(users))
    if isinstance(loop.sessions, Eager) and not isinstance(policy, Observer):
        yield from _eager_turns(loop, policy, here, label)
        return
    while len(here):
        context = loop.context(here)
        with blame(label, "recommend"):
            items = np.asarray(policy.recommend(context, loop.page_size))
            turn = loop.turn(items, here, _propensities(policy, context, items))
        if isinstance(policy, Observer):
            with blame(label, "observe"):
                policy.observe(turn.page, turn.reaction)
        yield turn
        here = here[~(turn.reaction.exits | turn.truncated)]


def _eager_turns(loop: PageLoop, policy: Policy, here: IntArray, label: str) -> Iterator[Turn]:
    while len(here) or loop.waited_for:
        if len(here):
            context = loop.context(here)
            with blame(label, "recommend"):
                items = np.asarray(policy.recommend(context, loop.page_size))
                loop.begin(items, here, _propensities(policy, context, items))
        turn = loop.collect()
        yield turn
        here = turn.page.seats[~(turn.reaction.exits | turn.truncated)]


def _propensities(policy: Policy, context: Context, items: IntArray) -> FloatArray | None:
    return np.asarray(policy.propensities(context, items)) if isinstance(policy, Chancy) else None
