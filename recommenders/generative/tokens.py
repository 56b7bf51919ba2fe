"""Names made of tokens: a row of codes for each item of a catalogue, or for each user."""

import hashlib
from dataclasses import dataclass

import numpy as np

from simenv.arrays import IntArray
from simenv.catalog import Catalog
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.pages import EMPTY
from simenv.store import Arrays

from .disambiguation import collisions


@dataclass(frozen=True, slots=True)
class Level:
    """How well one level's codes are used."""

    size: int  # codes there are
    used: int  # codes that stand for something
    entropy: float  # bits; log2(size) if all codes are used alike
    prefixes: int  # distinct rows up to this level

    @property
    def share(self) -> float:
        """The share of the codes that are used."""
        return self.used / self.size


@dataclass(frozen=True, slots=True)
class TokenReport:
    """What became of a catalogue in tokens. A collision is a row of codes that another has already."""

    count: int
    levels: tuple[Level, ...]
    collisions_before: int  # as quantised
    collisions_after: int  # as told apart

    def __str__(self) -> str:
        levels = "; ".join(
            f"{level.used} of {level.size} codes, {level.entropy:.2f} bits, {level.prefixes} prefixes"
            for level in self.levels
        )
        return f"{self.count} rows: {levels}; collisions {self.collisions_before}, then {self.collisions_after}"


class Tokens:
    """Rows of codes, and the tokens that they are called by; how they are found is up to those who inherit.

    Each level has tokens of its own, so a token says what level it stands at.
    """

    what = "items"
    stem = ""  # of the tokens' names

    codes: IntArray  # [N, T], EMPTY after the end of a row where rows are ragged
    sizes: tuple[int, ...] = ()  # T of them; empty until it is fitted
    collisions_before = 0
    dataset_name = ""
    row_count = 0
    fingerprint = ""  # of the catalogue

    def names(self) -> list[str]:
        """Return the tokens, level by level: <a_0>, <a_1>, ..., <b_0>, ...; their places are what `rows` counts."""
        self._check_fitted()
        return [
            f"<{self.stem}{_letters(level)}_{code}>" for level, size in enumerate(self.sizes) for code in range(size)
        ]

    def rows(self, first: int = 0) -> IntArray:
        """Return the numbers of the tokens [N, T], EMPTY after the end of a row; they are counted from `first`."""
        self._check_fitted()
        return np.where(self.codes == EMPTY, EMPTY, self.codes + self._offsets() + first)

    def report(self) -> TokenReport:
        """Return how the codes are used."""
        self._check_fitted()
        levels = tuple(
            _level(self.codes[:, level], size, len(np.unique(self.codes[:, : level + 1], axis=0)))
            for level, size in enumerate(self.sizes)
        )
        return TokenReport(len(self.codes), levels, self.collisions_before, collisions(self.codes))

    def check(self, dataset: Dataset) -> None:
        """Refuse a data set whose items (or users, if they are what is named) are not those it was fitted to."""
        self._check_fitted()
        if self.fingerprint != self.fingerprint_of(dataset):
            ours = f"{self.row_count} {self.what} of '{self.dataset_name}' ({self.fingerprint[:8]})"
            theirs = f"{self._count(dataset)} {self.what} of '{dataset.name}' ({self.fingerprint_of(dataset)[:8]})"
            raise SimenvError(
                f"the tokenizer was fitted to {ours} and is asked about {theirs}; fit it again, or take the other data"
            )

    def state(self) -> Arrays:
        """Return the codes and whose they are, as arrays by name."""
        self._check_fitted()
        return {
            "codes": self.codes.astype(np.int32),
            "sizes": np.array(self.sizes, dtype=np.int64),
            "collisions_before": np.array(self.collisions_before),
            "dataset": np.frombuffer(self.dataset_name.encode(), dtype=np.uint8).copy(),
            "fingerprint": np.frombuffer(bytes.fromhex(self.fingerprint), dtype=np.uint8).copy(),
        }

    def restore(self, arrays: Arrays) -> None:
        """Take back what `state` gave."""
        codes, sizes = arrays["codes"].astype(np.int64), tuple(arrays["sizes"].tolist())
        if codes.ndim != 2 or codes.shape[1] != len(sizes) or (codes >= np.array(sizes)).any() or (codes < EMPTY).any():
            raise ValueError(f"codes {codes.shape} do not go with levels of {sizes} codes")
        self.collisions_before = int(arrays["collisions_before"])
        self.dataset_name = arrays["dataset"].tobytes().decode()
        self.fingerprint = arrays["fingerprint"].tobytes().hex()
        self.codes, self.sizes, self.row_count = codes, sizes, len(codes)

    def fingerprint_of(self, dataset: Dataset) -> str:
        """Return a hash of all that names the rows: for items the whole catalogue."""
        return catalog_fingerprint(dataset.catalog)

    def keep(self, dataset: Dataset, codes: IntArray, sizes: tuple[int, ...], collisions_before: int) -> None:
        """Note the codes of a data set's items or users."""
        self.codes, self.sizes = codes.astype(np.int64), tuple(int(size) for size in sizes)
        self.collisions_before, self.row_count = collisions_before, len(codes)
        self.dataset_name, self.fingerprint = dataset.name, self.fingerprint_of(dataset)

    def _count(self, dataset: Dataset) -> int:
        return len(dataset.catalog)

    def _offsets(self) -> IntArray:
        return np.cumsum((0, *self.sizes[:-1]))

    def _check_fitted(self) -> None:
        if not self.sizes:
            raise SimenvError(f"{type(self).__name__} has not been fitted: call fit(dataset) first")


class UserTokens(Tokens):
    """Rows of codes for a data set's users, called by tokens that no item bears."""

    what = "users"
    stem = "u_"

    def fingerprint_of(self, dataset: Dataset) -> str:
        """Return a hash of the users' ids and of the catalogue that they choose from."""
        words = repr((dataset.users.ids.tolist(), catalog_fingerprint(dataset.catalog)))
        return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()

    def _count(self, dataset: Dataset) -> int:
        return len(dataset.users)


def catalog_fingerprint(catalog: Catalog) -> str:
    """Return a hash of all items and what is written about them, in their order."""
    words = (
        catalog.ids.tolist(),
        catalog.titles.tolist(),
        catalog.categories,
        catalog.descriptions.tolist(),
    )
    digest = hashlib.blake2b(repr(words).encode(), digest_size=16)
    digest.update(catalog.years.astype("<f8").tobytes())
    return digest.hexdigest()


def _level(codes: IntArray, size: int, prefixes: int) -> Level:
    counts = np.bincount(codes[codes != EMPTY])
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return Level(size, len(shares), float(-(shares * np.log2(shares)).sum()) + 0.0, prefixes)


def _letters(level: int) -> str:
    """Return a, b, ..., z, aa, ab, ..."""
    return (_letters(level // 26 - 1) if level >= 26 else "") + chr(ord("a") + level % 26)
