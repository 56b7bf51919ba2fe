"""Records in words: a user's past as a prompt, an item as its name."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from simenv.arrays import IntArray, WordArray
from simenv.catalog import Catalog
from simenv.errors import DataError
from simenv.pages import Grade
from simenv.plain_text import one_line

from .records import Records

PROMPT = Path(__file__).parent / "prompt.txt"
SLOT = "{history}"
NOTHING = "Nothing is known of this user's past."
HEADING = "A user's past, oldest first:"


@dataclass(frozen=True)
class Wording:
    """How items and pasts are told; a prompt of one's own holds {history} where the past belongs."""

    catalog: Catalog
    template: str = PROMPT.read_text(encoding="utf-8").strip()

    def __post_init__(self) -> None:
        if SLOT not in self.template:
            raise DataError(f"the prompt has no {SLOT}, where the user's past belongs")

    @cached_property
    def names(self) -> WordArray:
        """What each item is called: its title, and where others bear the same one its year or id as well."""
        titles = [one_line(self.catalog.title(item)) for item in range(len(self.catalog))]
        names = np.array([*titles, None], dtype=object)[:-1]
        for more in (self._year, self._id):
            _, place, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
            for item in np.flatnonzero(counts[place] > 1).tolist():
                names[item] += more(item)
        return names

    @cached_property
    def lengths(self) -> IntArray:
        """How many letters each item's name has."""
        return np.array([len(name) for name in self.names], dtype=np.int64)

    def prompts(self, records: Records, rows: Sequence[int]) -> list[str]:
        """Return the prompt of each of these records."""
        told: dict[int, str] = {}
        for row in rows:
            if row not in told:
                told[row] = self.template.replace(SLOT, self._past(records, row))
        return [told[row] for row in rows]

    def _past(self, records: Records, row: int) -> str:
        lines = [f"- {self.names[item]} ({_verdict(grade, rating)})" for item, grade, rating in records[row].history]
        return "\n".join([HEADING, *lines]) if lines else NOTHING

    def _year(self, item: int) -> str:
        year = self.catalog.years[item]
        return "" if np.isnan(year) else f" ({year:.0f})"

    def _id(self, item: int) -> str:
        return f" [{self.catalog.ids[item]}]"


def _verdict(grade: Grade, rating: float) -> str:
    word = grade.name.lower()
    return word if np.isnan(rating) else f"{word}, rated {rating:g}"
