"""How answers were read, and when too many could not be."""

from collections import Counter
from typing import Any

from scipy.stats import binom

from simenv.chat.asking import Outcome
from simenv.errors import PopulationError

BY_CHANCE = 1e-6  # less likely than this, a count of failures is no chance: five of five where 5 % may fail


class Tally:
    """Counts answers by kind and by how they were read; stops a run in which too many could not be.

    Answers come in any order, so a run stops here only by more than that can explain; its log decides at its end.
    """

    def __init__(self, most_failed: float) -> None:
        self.most_failed = most_failed
        self.counts: Counter[tuple[str, str]] = Counter()
        self.lost: Counter[str] = Counter()  # typed decisions that were refused or got no probabilities, by kind
        self.asked = self.failed = 0

    def note(self, kind: str, outcome: Outcome[Any]) -> None:
        """Take note of an answer."""
        self.counts[kind, outcome.how] += 1
        self.asked += 1
        if outcome.lost:
            self.lost[kind] += outcome.lost
        if outcome.how != "failed":
            return
        self.failed += 1
        if binom.sf(self.failed - 1, self.asked, self.most_failed) < BY_CHANCE:
            raise PopulationError(
                f"{self.failed} of the first {self.asked} questions got no answer that could be read, and most_failed"
                f" is {self.most_failed:g}; the last: {outcome.complaint}"
            )

    def check(self) -> None:
        """Stop, once all were asked, where more answers could not be read than may be."""
        if self.failed > self.most_failed * self.asked:
            raise PopulationError(
                f"{self.failed} of {self.asked} questions got no answer that could be read, and most_failed is"
                f" {self.most_failed:g}"
            )
