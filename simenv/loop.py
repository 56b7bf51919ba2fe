"""The page loop: the only place where a page meets its users.

The Gymnasium environments and the scenario runner are faces of this loop.
"""

import numba
import numpy as np

from .arrays import BitArray, BoolArray, FloatArray, IntArray, MarkArray
from .chance import key, mix
from .context import Context
from .dataset import Dataset
from .errors import BudgetSpent, PageError, PopulationError, SimenvError, failure
from .pages import EMPTY, Grade, Page, Reaction, Turn
from .population import Eager, Population, Sessions

USER_KEY, POLICY_KEY = key(0, "user"), key(0, "policy")
MAX_PAGES = 10_000
NOBODY = "nobody has entered yet: call reset() or enter() first"


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
        if not (isinstance(page_size, int | np.integer) and isinstance(max_pages, int | np.integer)):
            raise PageError(f"page_size {page_size!r} and max_pages {max_pages!r} must be whole numbers")
        if page_size < 1:
            raise PageError(f"page_size is {page_size}; it must be at least 1")
        if not 1 <= max_pages <= MAX_PAGES:
            raise PageError(f"max_pages is {max_pages}; it must be from 1 to {MAX_PAGES}")
        self.dataset = dataset
        self.population = population
        self.page_size = page_size
        self.max_pages = max_pages
        self.leave_out_past = leave_out_past
        self.leave_out_shown = leave_out_shown
        self.item_count = len(dataset.catalog)
        self._sessions: Sessions | None = None

    def enter(self, users: IntArray, seeds: int | IntArray) -> None:
        """Seat these users, each at the start of a session."""
        count = len(users)
        self.users = np.array(users, dtype=np.int32)
        self.luck = luck_of(seeds, self.users)
        self.number = np.zeros(count, dtype=np.int32)
        # By page, then by seat: users on the same page lie side by side.
        self.shown = np.empty((self.max_pages, count, self.page_size), dtype=np.int32)
        self.grades = np.empty(self.shown.shape, dtype=np.int8)
        self._seats = np.arange(count)
        self._marks = no_marks(count, self.item_count)  # what was shown
        self._begun: dict[int, BoolArray] = {}  # by seat, the places emptied on a page not answered yet
        try:
            self._sessions = self.population.enter(self.users, self.luck)
        except Exception as error:
            raise self._failed("enter", error) from error

    def reseat(self, seats: IntArray, users: IntArray, seeds: int | IntArray) -> None:
        """Let these users begin a session in seats that others have left."""
        self.users[seats] = users
        self.luck[seats] = luck_of(seeds, users)
        self.number[seats] = 0
        self._marks[seats] = 0
        self.sessions.reseat(seats, self.users[seats], self.luck[seats])

    @property
    def sessions(self) -> Sessions:
        """The users now seated."""
        if self._sessions is None:
            raise PageError(NOBODY)
        return self._sessions

    def context(self, seats: IntArray | None = None) -> Context:
        """Return what a policy may know of the users in these seats (by default all)."""
        if self._sessions is None:
            raise PageError(NOBODY)
        here = self._seats if seats is None else seats
        number = self.number[here]
        count = int(number.max(initial=0))
        shown, grades = (
            record[:count, here].transpose(1, 0, 2).reshape(len(here), -1) for record in (self.shown, self.grades)
        )
        past = np.arange(shown.shape[1]) < number[:, None] * self.page_size  # the rest is of sessions gone by
        return Context(
            self.dataset,
            self.users[here],
            number,
            np.where(past, shown, EMPTY),
            np.where(past, grades, np.int8(Grade.UNSEEN)),
            policy_luck(self.luck[here]),
            self.leave_out_past,
            self.leave_out_shown,
        )

    def turn(self, items: IntArray, seats: IntArray | None = None, propensities: FloatArray | None = None) -> Turn:
        """Show the users in these seats (by default all) a page each and take their reactions.

        An item that stands twice on a page, or was shown before in the session, leaves its place empty.
        """
        page, repeated = self._page(items, seats, propensities)
        try:
            reaction = self.sessions.react(page)
        except BudgetSpent:
            raise
        except Exception as error:
            raise self._failed("react", error) from error
        return self._turned(page, reaction, repeated)

    def begin(self, items: IntArray, seats: IntArray, propensities: FloatArray | None = None) -> None:
        """Show the users in these seats a page each, and do not wait; for sessions that are eager."""
        page, repeated = self._page(items, seats, propensities)
        self._begun.update(zip(seats.tolist(), repeated, strict=True))
        try:
            self._eager.begin(page)
        except BudgetSpent:
            raise
        except Exception as error:
            raise self._failed("begin", error) from error

    def collect(self) -> Turn:
        """Return the turns of those who have answered, at least one."""
        try:
            page, reaction = self._eager.collect()
        except BudgetSpent:
            raise
        except Exception as error:
            raise self._failed("collect", error) from error
        repeated = np.array([self._begun.pop(seat) for seat in page.seats.tolist()], dtype=bool)
        return self._turned(page, reaction, repeated.reshape(page.items.shape))

    @property
    def waited_for(self) -> int:
        """How many users have been shown a page and have not answered yet."""
        return len(self._begun)

    @property
    def _eager(self) -> Eager:
        assert isinstance(self.sessions, Eager)
        return self.sessions

    def _page(self, items: IntArray, seats: IntArray | None, propensities: FloatArray | None) -> tuple[Page, BoolArray]:
        """Return the page that these items make, and which places were emptied for their item stood there before."""
        here = self._seats if seats is None else seats
        if items.shape != (len(here), self.page_size) or items.dtype.kind not in "iu":
            raise PageError(
                f"a page of shape {items.shape} and type {items.dtype};"
                f" wanted whole numbers of shape ({len(here)}, {self.page_size})"
            )
        items, repeated = empty_repeats(items, here, self._marks, self.item_count, keep=self.leave_out_shown)
        if propensities is not None and propensities.shape != items.shape:
            raise PageError(f"propensities of shape {propensities.shape} for a page of shape {items.shape}")
        number = self.number.copy() if seats is None else self.number[here]
        users = self.users.copy() if seats is None else self.users[here]
        return Page(users, here, number, items, propensities), repeated

    def _turned(self, page: Page, reaction: Reaction, repeated: BoolArray) -> Turn:
        """Return the turn that a page and its reaction make, and remember it."""
        if reaction.grades.shape != page.items.shape or reaction.exits.shape != page.number.shape:
            told = f"grades {reaction.grades.shape} and exits {reaction.exits.shape} for a page {page.items.shape}"
            raise self._failed("react", PopulationError(told))
        _remember(page.items, reaction.grades, page.seats, self.number, self.shown, self.grades)
        truncated = (page.number + 1 >= self.max_pages) > reaction.exits
        return Turn(page, reaction, repeated, truncated)

    def _failed(self, deed: str, error: Exception) -> PopulationError:
        who = type(self.population).__name__
        if isinstance(error, SimenvError):  # which says by itself what was wrong
            return PopulationError(f"{who}: {error}")
        return PopulationError(f"{who} failed in {deed}: {failure(error)}")


def empty_repeats(
    items: IntArray, seats: IntArray, marks: MarkArray, item_count: int, *, keep: bool
) -> tuple[IntArray, BoolArray]:
    """Return pages with the places of items emptied that stand on a better place or are marked, and which they are.

    `marks` has a bit for each item and seat; those of the pages are added, if they are to be kept.
    """
    placed = np.empty(items.shape, dtype=np.int32)
    repeated = np.empty(items.shape, dtype=np.bool_)
    wrong = _place(items, seats, marks, item_count, keep, placed, repeated)
    if wrong != EMPTY:
        raise PageError(f"no item {wrong}: items run from 0 to {item_count - 1}, and {EMPTY} leaves a place empty")
    return placed, repeated


def no_marks(seats: int, item_count: int) -> MarkArray:
    """Return a bit for each item and seat, all clear."""
    return np.zeros((seats, item_count // 8 + 1), dtype=np.uint8)


@numba.njit(cache=True)
def _place(items, seats, marks, item_count, keep, placed, repeated):  # type: ignore[no-untyped-def]
    """Place the items that are not marked yet, mark them, and return the first wrong item, or EMPTY."""
    for item in items.flat:
        if item < EMPTY or item >= item_count:
            return item
    for row, seat in enumerate(seats):
        mine = marks[seat]
        for rank, item in enumerate(items[row]):
            placed[row, rank] = item
            repeated[row, rank] = False
            if item == EMPTY:
                continue
            bit = np.uint8(1 << (item & 7))
            if mine[item >> 3] & bit:
                repeated[row, rank] = True
                placed[row, rank] = EMPTY
            mine[item >> 3] |= bit
        if not keep:  # the next page may show them again
            for item in items[row]:
                if item != EMPTY:
                    mine[item >> 3] = 0
    return EMPTY


@numba.njit(cache=True)
def _remember(items, reactions, seats, number, shown, grades):  # type: ignore[no-untyped-def]
    """Add a page and its grades to the session's record, and turn to the next page."""
    for row, seat in enumerate(seats):
        shown[number[seat], seat] = items[row]
        grades[number[seat], seat] = reactions[row]
        number[seat] += 1


def policy_luck(luck: BitArray) -> BitArray:
    """Return the bits that a policy may draw from: they tell nothing of what the users will do."""
    return mix(POLICY_KEY, luck)


def luck_of(seeds: int | IntArray, users: IntArray) -> BitArray:
    """Return each user's bits for this seed; the policy is left out, so all policies meet the same luck."""
    return mix(mix(USER_KEY, seeds), users)
