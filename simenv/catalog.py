"""The items that can be recommended, and what is written about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .arrays import BoolArray, FloatArray, IdArray, IntArray, WordArray
from .errors import DataError
from .plain_text import one_line


@dataclass(frozen=True, eq=False)
class Catalog:
    """Items by index; `ids` are the data set's own names for them."""

    ids: IdArray  # [I]
    titles: WordArray  # [I] str, or None where absent
    categories: tuple[tuple[str, ...], ...]  # I of them
    descriptions: WordArray  # [I] str, or None where absent
    years: FloatArray  # [I], NaN where absent

    def __post_init__(self) -> None:
        """Keep what is written about items in single lines without control characters, whatever the data hold."""
        for name in ("titles", "descriptions"):
            texts = getattr(self, name)
            plain = [text if text is None else one_line(str(text)) or None for text in texts]
            if any(old is not new for old, new in zip(texts, plain, strict=True)):
                object.__setattr__(self, name, np.array([*plain, None], dtype=object)[:-1])
        if any(one_line(name) != name for name in {name for names in self.categories for name in names}):
            plain_names = tuple(tuple(filter(None, map(one_line, names))) for names in self.categories)
            object.__setattr__(self, "categories", plain_names)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def category_names(self) -> list[str]:
        """Every category that an item bears, in alphabetical order."""
        return sorted({name for names in self.categories for name in names})

    @cached_property
    def category_matrix(self) -> BoolArray:
        """Which item bears which category: [I, C]."""
        place = {name: number for number, name in enumerate(self.category_names)}
        matrix = np.zeros((len(self), len(place)), dtype=bool)
        for item, names in enumerate(self.categories):
            for name in names:
                matrix[item, place[name]] = True
        return matrix

    @cached_property
    def _index(self) -> dict[object, int]:
        return {item_id: item for item, item_id in enumerate(self.ids.tolist())}

    def index(self, ids: Sequence[object]) -> IntArray:
        """Return the items that bear these ids."""
        try:
            return np.fromiter((self._index[item_id] for item_id in ids), dtype=np.int32, count=len(ids))
        except KeyError as missing:
            raise DataError(f"no item {missing} in the catalogue of {len(self)} items") from None

    def title(self, item: int) -> str:
        """Return the item's title, or its id where it has none."""
        return self.titles[item] or f"item {self.ids[item]}"

    def text(self, item: int) -> str:
        """Return all that is written about the item, in one line."""
        parts = [self.titles[item], ", ".join(self.categories[item]), self.descriptions[item]]
        return ". ".join(part for part in parts if part)
