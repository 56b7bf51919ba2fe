"""Users who answer from a log: what they really said, and nothing where they said nothing."""

import numpy as np

from simenv.arrays import BitArray, FloatArray, IntArray
from simenv.dataset import Dataset, grades_of
from simenv.errors import SimenvError
from simenv.interactions import Interactions
from simenv.pages import Grade, Page, Reaction
from simenv.population import AnsweredBy


class ReplayPopulation:
    """Grades an item as its user did in the held-out log; one without an answer there is PASSED, and unknown.

    Nobody leaves: a log of choices does not say when its users had enough.
    """

    def __init__(self, held_out: Interactions) -> None:
        if not len(held_out):
            raise SimenvError("replay: the split holds nothing out to answer from; choose one with test rows")
        self.held_out = held_out

    def fit(self, dataset: Dataset) -> None:
        """Index the held-out answers; nothing is learnt."""
        log = self.held_out
        self.item_count = len(dataset.catalog)
        places = log.users.astype(np.int64) * self.item_count + log.items
        order = np.argsort(places, kind="stable")
        self.places, self.ratings = places[order], log.ratings[order]
        # The scale is that of all ratings; the held-out ones alone may not reach its top.
        both = np.concatenate([self.ratings, dataset.interactions.ratings])
        self.grades = grades_of(both)[: len(log)]

    @property
    def answered_by(self) -> AnsweredBy:
        """What their reactions come from: the held-out rows."""
        return AnsweredBy(held_out=True)

    def enter(self, users: IntArray, luck: BitArray) -> "Replay":  # noqa: ARG002
        """Seat these users in this order; their answers need no luck."""
        return Replay(self)


class Replay:
    """Sessions answered from the log."""

    def __init__(self, population: ReplayPopulation) -> None:
        self.log = population

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:
        """Let these users begin a session; nothing is kept between pages."""

    def react(self, page: Page) -> Reaction:
        """Return what the users said of these items."""
        wanted = page.users[:, None].astype(np.int64) * self.log.item_count + page.items
        found = np.minimum(np.searchsorted(self.log.places, wanted), len(self.log.places) - 1)
        shown = page.items >= 0
        known = shown & (self.log.places[found] == wanted)
        grades = np.where(known, self.log.grades[found], np.where(shown, Grade.PASSED, Grade.UNSEEN))
        ratings = np.where(known, self.log.ratings[found], np.float32(np.nan))
        return Reaction(
            grades.astype(np.int8),
            ratings,
            _satisfaction(known, grades),
            np.zeros(len(page.users), dtype=bool),
            np.full(len(page.users), "", dtype=object),
            known,
            [f"{count} unknown" if count else None for count in (shown & ~known).sum(axis=1).tolist()],
        )


def _satisfaction(known: IntArray, grades: IntArray) -> FloatArray:
    """Return 1 to 10 by the share of the page that is known to be liked."""
    return (1 + 9 * ((grades == Grade.LIKED) & known).mean(axis=1)).astype(np.float32)
