"""The page loop: the only place where a page meets its users.

The Gymnasium environments and the scenario runner are faces of this loop.
"""

import numpy as np

from .arrays import BitArray, BoolArray, FloatArray, IntArray
from .chance import key, mix
from .context import Context
from .dataset import Dataset
from .errors import PageError
from .pages import EMPTY, Grade, Page, Reaction, Turn
from .population import Population, Sessions

USER_KEY = key(0, "user")
MAX_PAGE_SIZE = 255  # ranks fit a byte


class PageLoop:
    """Seats users, shows them pages and keeps this session's record until they leave."""

    def __init__(
        self,
        dataset: Dataset,
        population: Population,
        *,
        page_size: int,
        max_pages: int,
        leave_out_past: bool = True,
        leave_out_shown: bool = True,
    ) -> None:
        if not 1 <= page_size <= MAX_PAGE_SIZE:
            raise PageError(f"page_size is {page_size}; it must be from 1 to {MAX_PAGE_SIZE}")
        if max_pages < 1:
            raise PageError(f"max_pages is {max_pages}; it must be at least 1")
        self.dataset = dataset
        self.population = population
        self.page_size = page_size
        self.max_pages = max_pages
        self.leave_out_past = leave_out_past
        self.leave_out_shown = leave_out_shown
        self.item_count = len(dataset.catalog)
        self._ranks = np.arange(1, page_size + 1, dtype=np.uint8)
        self._sessions: Sessions | None = None

    def enter(self, users: IntArray, seeds: int | IntArray) -> None:
        """Seat these users, each at the start of a session."""
        count = len(users)
        self.users = np.array(users, dtype=np.int32)
        self.luck = luck_of(seeds, self.users)
        self.number = np.zeros(count, dtype=np.int32)
        self.shown = np.full((count, self.max_pages * self.page_size), EMPTY, dtype=np.int32)
        self.grades = np.zeros(self.shown.shape, dtype=np.int8)
        self._seats = np.arange(count)
        self._columns = np.arange(self.page_size)
        # The rank + 1 of what was shown; each seat's first mark belongs to its empty places.
        self._marks = np.zeros(count * (self.item_count + 1), dtype=np.uint8)
        self._mark_starts = self._seats[:, None] * (self.item_count + 1) + 1
        self._sessions = self.population.enter(self.users, self.luck)

    def reseat(self, seats: IntArray, users: IntArray, seeds: int | IntArray) -> None:
        """Let these users begin a session in seats that others have left."""
        self.users[seats] = users
        self.luck[seats] = luck_of(seeds, users)
        self.number[seats] = 0
        self.shown[seats] = EMPTY
        self.grades[seats] = Grade.UNSEEN
        self._marks.reshape(-1, self.item_count + 1)[seats] = 0
        self.sessions.reseat(seats, self.users[seats], self.luck[seats])

    @property
    def sessions(self) -> Sessions:
        """The users now seated."""
        if self._sessions is None:
            raise PageError("nobody has entered yet: call reset() or enter() first")
        return self._sessions

    def context(self, seats: IntArray | None = None) -> Context:
        """Return what a policy may know of the users in these seats (by default all)."""
        here = slice(None) if seats is None else seats
        number = self.number[here]
        width = int(number.max(initial=0)) * self.page_size
        return Context(
            self.dataset,
            self.users[here],
            number,
            self.shown[here, :width],
            self.grades[here, :width],
            self.luck[here],
            self.leave_out_past,
            self.leave_out_shown,
        )

    def turn(
        self, items: IntArray, seats: IntArray | None = None, propensities: FloatArray | None = None
    ) -> Turn:
        """Show the users in these seats (by default all) a page each and take their reactions.

        An item that stands twice on a page, or was shown before in the session, leaves its place empty.
        """
        here = self._seats if seats is None else seats
        self._check(items, len(here))
        items = items.astype(np.int32)
        repeated = self._repeats(items, here)
        items[repeated] = EMPTY
        number = self.number[here]
        page = Page(self.users[here], here, number, items, propensities)
        reaction = self.sessions.react(page)
        self._remember(page, reaction)
        truncated = (number + 1 >= self.max_pages) & ~reaction.exits
        return Turn(page, reaction, repeated, truncated)

    def _check(self, items: IntArray, count: int) -> None:
        if items.shape != (count, self.page_size) or items.dtype.kind not in "iu":
            raise PageError(
                f"a page of shape {items.shape} and type {items.dtype};"
                f" wanted whole numbers of shape ({count}, {self.page_size})"
            )
        if items.size and (items.min() < EMPTY or items.max() >= self.item_count):
            wrong = items[(items < EMPTY) | (items >= self.item_count)][0]
            raise PageError(
                f"no item {wrong}: items run from 0 to {self.item_count - 1}, and {EMPTY} leaves a place empty"
            )

    def _repeats(self, items: IntArray, here: IntArray) -> BoolArray:
        """Tell which places hold an item of a better place or an earlier page, and mark the others as shown."""
        stands = self._mark_starts[here] + items
        before = self._marks.take(stands)
        # The last of equal places wins: written backwards, the best rank stays.
        self._marks[stands[:, ::-1]] = self._ranks[::-1]
        repeated = self._marks.take(stands) != self._ranks
        if self.leave_out_shown:
            repeated |= before != 0
        if repeated.any():
            repeated &= items != EMPTY
        return repeated

    def _remember(self, page: Page, reaction: Reaction) -> None:
        begin = page.seats * self.shown.shape[1] + page.number * self.page_size
        stands = begin[:, None] + self._columns
        self.shown.reshape(-1)[stands] = page.items
        self.grades.reshape(-1)[stands] = reaction.grades
        self.number[page.seats] += 1


def luck_of(seeds: int | IntArray, users: IntArray) -> BitArray:
    """Return each user's bits for this seed; the policy is left out, so all policies meet the same luck."""
    return mix(mix(USER_KEY, np.atleast_1d(seeds)), users)
