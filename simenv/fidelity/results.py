"""What a test of the battery finds: figures with intervals over users, and a verdict by limits that may be set."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from simenv.errors import SimenvError
from simenv.intervals import Interval

Word = Literal["pass", "warn", "fail", "not measured"]
WORDS: tuple[Word, ...] = ("not measured", "pass", "warn", "fail")  # the worst last
Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Limit:
    """From where on a figure is good, and beyond which it is bad; which of the two is larger tells the way."""

    good: float
    bad: float

    def judge(self, found: Interval) -> Word:
        """Pass what is good, fail what is bad for certain: with all of its interval."""
        if not math.isfinite(found.mean):
            return "not measured"
        way = 1 if self.good >= self.bad else -1
        edge = found.high if way > 0 else found.low  # of the interval, on the good side
        if math.isfinite(edge) and (edge - self.bad) * way < 0:
            return "fail"
        return "pass" if (found.mean - self.good) * way >= 0 else "warn"

    def words(self) -> str:
        """Return the rule in words."""
        way = "at least" if self.good >= self.bad else "at most"
        side = "below" if self.good >= self.bad else "above"
        return f"{way} {self.good:g}; fails {side} {self.bad:g}"


# What each figure that counts is held against; a scenario sets others by `fidelity: {limits: {taste.auc: [0.6, 0.5]}}`.
LIMITS: dict[str, Limit] = {
    "taste.auc": Limit(0.58, 0.53),
    "taste.auc_matched": Limit(0.55, 0.52),
    "taste.balanced": Limit(0.7, 0.505),
    "taste.auc_lead": Limit(0.01, -0.2),  # over popularity and over user mean + item mean, on the same cases
    "taste.lead": Limit(0.01, -0.2),  # of balanced accuracy, likewise
    "ratings.js": Limit(0.05, 0.1),
    "ratings.tv": Limit(0.15, 0.3),
    "ratings.rmse": Limit(1.0, 1.3),  # over that of user mean + item mean
    "ratings.lead": Limit(0.0, -0.2),  # of AUC over that of user mean + item mean
    # The same within users, where a user's mean is one for all their items: who only knows what all like has no lead.
    "ratings.lead_within": Limit(0.01, -0.2),
    "ratings.rank": Limit(0.05, 0.0),
    "behaviour.places": Limit(0.5, 0.25),
    "behaviour.first_page": Limit(0.8, 0.99),
    "behaviour.last_page": Limit(0.9, 0.995),
    "behaviour.fame": Limit(0.0, -0.25),
    "behaviour.repeats": Limit(-0.02, 0.25),
    "dose.drop": Limit(0.1, 0.02),
    "dose.rises": Limit(0.0, 0.02),
    "interference.persona": Limit(0.6, 0.8),
    "interference.length": Limit(0.85, 0.95),
    "cues.titles": Limit(0.15, 0.3),
    "ranking.tau": Limit(0.5, 0.3),
    "ranking.agreement": Limit(0.8, 0.7),
    "review.tainted": Limit(0.02, 0.1),
}


def limits_of(told: Mapping[str, Sequence[float]]) -> dict[str, Limit]:
    """Return all limits with these ones changed, each as where it is good and where bad; or say which there are."""
    found = dict(LIMITS)
    for name, pair in told.items():
        if name not in LIMITS:
            raise SimenvError(f"fidelity.limits: no limit '{name}'; there are {', '.join(LIMITS)}")
        if len(pair) != 2 or not all(math.isfinite(value) for value in pair):
            raise SimenvError(f"fidelity.limits, {name}: {list(pair)}; it must be two numbers: [good, bad]")
        if (pair[0] >= pair[1]) != (LIMITS[name].good >= LIMITS[name].bad):
            side = "above" if LIMITS[name].good >= LIMITS[name].bad else "below"
            raise SimenvError(f"fidelity.limits, {name}: {list(pair)}; what is good lies {side} what is bad")
        found[name] = Limit(float(pair[0]), float(pair[1]))
    return found


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and what it is held against; '' where it is only told."""

    name: str
    value: Interval
    word: Word | Literal[""] = ""
    rule: str = ""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        value = {name: _finite(getattr(self.value, name)) for name in ("mean", "low", "high")}
        return {"name": self.name, **value, "n": self.value.n, "verdict": self.word, "rule": self.rule}


@dataclass(frozen=True, slots=True)
class Table:
    """Details that no verdict hangs on."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        rows = [[_finite(cell) if isinstance(cell, float) else cell for cell in row] for row in self.rows]
        return {"title": self.title, "heads": list(self.heads), "rows": rows}


@dataclass(frozen=True, slots=True)
class Result:
    """What one test found."""

    test: str
    word: Word
    note: str  # what to make of it, in a sentence
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "test": self.test,
            "verdict": self.word,
            "note": self.note,
            "figures": [figure.plain() for figure in self.figures],
            "tables": [table.plain() for table in self.tables],
        }


def held(limits: Mapping[str, Limit], limit: str, name: str, value: Interval) -> Figure:
    """Return a figure held against a limit."""
    return Figure(name, value, limits[limit].judge(value), limits[limit].words())


def worst(words: Iterable[str]) -> Word:
    """Return the worst of some verdicts; what was not measured counts only where nothing was."""
    places = [WORDS.index(word) for word in words if word in WORDS]  # type: ignore[arg-type]
    return WORDS[max(places, default=0)]


def result(test: str, figures: Sequence[Figure], good: str, tables: Sequence[Table] = ()) -> Result:
    """Return a test's result: its verdict is that of the worst figure, its note names those that did not pass."""
    word = worst(figure.word for figure in figures)
    bad = [figure for figure in figures if figure.word in ("fail", "warn")]
    bad.sort(key=lambda figure: figure.word != "fail")
    note = "; ".join(f"{one.name} {one.value.mean:.3g} ({one.rule})" for one in bad) or good
    return Result(test, word, note, tuple(figures), tuple(tables))


def unmeasured(test: str, why: str) -> Result:
    """Return the result of a test that could not be made."""
    return Result(test, "not measured", why)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
