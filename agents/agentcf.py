"""AgentCF (Zhang et al. 2024): users and items as agents whose texts are learnt by playing the past forward.

For each row of the past, in its order, a user agent chooses between the item that he took and one drawn by popularity
that he did not. Where he is wrong both sides are rewritten, where he is right both are confirmed; a choice that cannot
be read changes nothing. The two items are asked in an order drawn for each pair. Pairs are asked together only if they
share no user and no item, so nobody reads a text that another pair is about to change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from simenv.arrays import FloatArray, IntArray
from simenv.chance import stream
from simenv.chat.asking import Outcome, ask
from simenv.chat.crowd import Crowd
from simenv.chat.model import ChatModel, Message, Question
from simenv.dataset import Dataset
from simenv.options import check_number, check_whole
from simenv.plain_text import quoted

from .answers import Choice, Introduction, Order, Retold, letters
from .items import ItemMemory, contradiction, item_memory, shortened
from .meaning import WordWeights
from .prompts import prompt
from .tally import Tally

MOST_WORDS = 180  # of a user's introduction
START = "I like this kind of thing, and I do not know yet what I like most."
# By his latest introduction alone; with the earlier one nearest to what is asked; with the titles of his history.
Mode = Literal["B", "B+R", "B+H"]


@dataclass(slots=True)
class Introduced:
    """A user's text, and those before it."""

    text: str = START
    earlier: list[str] = field(default_factory=list)

    def rewrite(self, text: str) -> None:
        """Be introduced otherwise from now on."""
        self.earlier.append(self.text)
        self.text = shortened(text, MOST_WORDS)


@dataclass(frozen=True, slots=True)
class Pair:
    """What a user took, and what he did not."""

    user: int
    taken: int
    left: int
    row: int  # of the log, which its luck comes from


class AgentCF:
    """Learns the texts of users and items, and ranks by them."""

    def __init__(
        self, model: ChatModel, *, rounds: int = 2, batch_size: int = 20, seed: int = 0, most_failed: float = 0.05
    ) -> None:
        check_whole(rounds=rounds, batch_size=batch_size)
        check_number(least=0, most=1, most_failed=most_failed)
        self.model, self.rounds, self.batch_size, self.seed = model, rounds, batch_size, seed
        self.tally = Tally(most_failed)
        self.users: dict[int, Introduced] = {}
        self.items: dict[int, ItemMemory] = {}
        self.right: list[bool | None] = []  # of the first choice that was read of each pair, in the order played

    def fit(self, dataset: Dataset, users: IntArray, *, shuffle: bool = False) -> None:
        """Play these users' past forward.

        With `shuffle` what was taken and what was left is drawn by lot, so that there is nothing to learn.
        """
        self.dataset = dataset
        self.weights = WordWeights(dataset.catalog.text(item) for item in range(len(dataset.catalog)))
        self.users, self.items, self.right = {user: Introduced() for user in users.tolist()}, {}, []
        pairs = list(self._pairs(dataset, users, shuffle))
        for some in batches(pairs, self.batch_size):
            for pair in some:
                for item in (pair.taken, pair.left):
                    self.item(item)
            found = Crowd[int, bool | None]().all((place, self._play(pair)) for place, pair in enumerate(some))
            self.right += [found[place] for place in range(len(some))]

    def item(self, item: int) -> ItemMemory:
        """Return an item's memory."""
        if item not in self.items:
            self.items[item] = item_memory(self.dataset.catalog, item)
        return self.items[item]

    def drift(self) -> FloatArray:
        """Return how far each item's text has come from its first."""
        return np.array([memory.drift(self.weights) for memory in self.items.values()])

    def rank(self, users: IntArray, candidates: IntArray, mode: Mode = "B") -> IntArray:
        """Return each user's candidates [U, C], the most wanted first; unread answers leave them in a drawn order."""
        asked = enumerate(zip(users.tolist(), candidates, strict=True))
        found = Crowd[int, IntArray]().all((place, self._rank(user, row, mode)) for place, (user, row) in asked)
        return np.stack([found[place] for place in range(len(users))])

    def _pairs(self, dataset: Dataset, users: IntArray, shuffle: bool) -> Iterator[Pair]:
        """Yield the pairs round-robin over users, each user's in the order of his past; who took all items has none."""
        log, starts = dataset.interactions, dataset.starts
        chances = np.cumsum(dataset.popularity)
        longest = int((starts[users + 1] - starts[users]).max(initial=0))
        for place in range(longest):
            for user in users.tolist():
                row = int(starts[user]) + place
                if row >= starts[user + 1]:
                    continue
                rng = stream(self.seed, "agentcf", row)
                met = set(log.items[starts[user] : starts[user + 1]].tolist())
                if len(met) == len(chances):
                    continue
                left = _drawn(rng, chances, met)
                taken = int(log.items[row])
                if shuffle and rng.random() < 0.5:
                    taken, left = left, taken
                yield Pair(user, taken, left, row)

    async def _play(self, pair: Pair) -> bool | None:
        """Let a user choose until he is right, at most `rounds` times.

        Return whether he was with the first choice that could be read, None where none could.
        """
        first: bool | None = None
        for number in range(self.rounds):
            right, why = await self._choose(pair, number)
            if right is None:
                continue
            if not right or first is None:
                await self._rewrite(pair, wrong=not right, why=why)
            first = right if first is None else first
            if right:
                break
        return first

    async def _choose(self, pair: Pair, number: int) -> tuple[bool | None, str]:
        """Return whether a user chooses what he took, None where that cannot be read, and why."""
        order = stream(self.seed, "agentcf order", pair.row, number).permutation([pair.taken, pair.left]).tolist()
        shown = list(zip(("A", "B"), map(self.item, order), strict=True))
        outcome = await self._ask("pair", pair.user, prompt("pair").render(items=shown), Choice, draw=number)
        if outcome.value is None:
            return None, ""
        return order["AB".index(outcome.value.choice)] == pair.taken, outcome.value.why

    async def _rewrite(self, pair: Pair, *, wrong: bool, why: str) -> None:
        """Rewrite the user, then both items in the light of who he is now."""
        user, taken, left = self.users[pair.user], self.item(pair.taken), self.item(pair.left)
        told: dict[str, Any] = {"taken": taken, "left": left, "wrong": wrong, "why": why}
        thought: Outcome[Introduction] = await self._ask(
            "rethink", pair.user, prompt("rethink").render(told), Introduction
        )
        if thought.value is not None and thought.value.introduction.strip():
            user.rewrite(thought.value.introduction)
        known = self.dataset.catalog.category_names

        def check(retold: Retold) -> str | None:
            return contradiction(taken, retold.first, known) or contradiction(left, retold.second, known)

        text = prompt("retell").render(told | {"introduction": user.text})
        retold: Outcome[Retold] = await self._ask("retell", None, text, Retold, check)
        if retold.value is not None:
            for memory, said in ((taken, retold.value.first), (left, retold.value.second)):
                if said.strip():
                    memory.rewrite(said)

    async def _rank(self, user: int, candidates: IntArray, mode: Mode) -> IntArray:
        order = stream(self.seed, "agentcf rank", user).permutation(len(candidates))
        asked = dict(zip(letters(len(candidates)), candidates[order].tolist(), strict=True))
        items = [(letter, self.item(item)) for letter, item in asked.items()]
        history = self.dataset.interactions.items[self.dataset.starts[user] : self.dataset.starts[user + 1]].tolist()
        text = prompt("rank").render(
            items=items,
            earlier=self._earlier(user, items) if mode == "B+R" else "",
            history=[quoted(self.dataset.catalog.title(item)) for item in history] if mode == "B+H" else [],
        )
        wanted = tuple(asked)

        def check(answer: Order) -> str | None:
            return (
                None
                if sorted(answer.order) == sorted(wanted)
                else f"give each letter from {wanted[0]} to {wanted[-1]} once"
            )

        outcome = await self._ask("rank", user, text, Order, check)
        return np.array([asked[letter] for letter in (outcome.value.order if outcome.value else wanted)])

    def _earlier(self, user: int, items: Sequence[tuple[str, ItemMemory]]) -> str:
        """Return the earlier introduction that is nearest to what is asked."""
        about = self.weights.vector(" ".join(f"{memory.named} {memory.text}" for _, memory in items))
        return max(self.users[user].earlier, key=lambda text: float(self.weights.vector(text) @ about), default="")

    async def _ask(
        self, kind: str, user: int | None, text: str, form: type[Any], check: Any = None, draw: int = 0
    ) -> Outcome[Any]:
        who = () if user is None else (Message("system", prompt("taste").render(introduction=self.users[user].text)),)
        outcome = await ask(self.model, Question(kind, (*who, Message("user", text)), draw=draw), form, check)
        self.tally.note(kind, outcome)
        return outcome


def batches(pairs: Sequence[Pair], most: int) -> list[list[Pair]]:
    """Return the pairs in their order, cut wherever one shares a user or an item with another of its batch."""
    found: list[list[Pair]] = []
    busy: set[tuple[str, int]] = set()
    for pair in pairs:
        mine = {("user", pair.user), ("item", pair.taken), ("item", pair.left)}
        if not found or busy & mine or len(found[-1]) >= most:
            found.append([])
            busy = set()
        found[-1].append(pair)
        busy |= mine
    return found


def _drawn(rng: np.random.Generator, chances: IntArray, met: set[int]) -> int:
    """Return an item by popularity that was not met; any other where nothing popular is left."""
    for _ in range(100):
        item = int(np.searchsorted(chances, rng.integers(chances[-1]), side="right"))
        if item not in met:
            return item
    return next(item for item in rng.permutation(len(chances)).tolist() if item not in met)
