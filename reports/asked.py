"""Users who were asked in words: who they are, and how their answers were read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from simenv.chat.usage import Usage
from simenv.rundir import RunDir

from .discretion import discreet
from .numbers import count, percent
from .standings import Standings
from .svg import inks
from .tables import in_words
from .verdict import Note

KINDS = {
    "plain": "read as it came",
    "mended": "right but for its wrapping or its marks",
    "repaired": "read after the user was told what was wrong and asked once more",
    "decided": "given as probabilities, and drawn by the user's own luck",
    "partly": "likewise, but some were refused: an item that was counts as not looked at",
    "failed": "not read at all, so the page counts as not looked at",
}
WAYS = {
    "decisions": "typed decisions, a probability for each",
    "schema": "a strict schema",
    "tool": "a forced tool call",
    "json": "words, and whatever came was read",
}
TYPED = ("decided", "partly")  # named where there are some
ALL = "all"
MOST_FAILED = 0.05  # where an older manifest does not tell


@dataclass(frozen=True, slots=True)
class Readings:
    """How the answers of a run were read: pages by kind, for each policy and in all."""

    kinds: Sequence[str]
    counts: Mapping[str, Mapping[str, int]]  # by policy, `ALL` last
    besides: Mapping[str, Mapping[str, int]]  # of what else was asked, by the kind of question
    most_failed: float

    @property
    def failed(self) -> float:
        """Share of all questions without an answer that could be read."""
        asked = [self.counts[ALL], *self.besides.values()]
        return sum(one.get("failed", 0) for one in asked) / max(sum(sum(one.values()) for one in asked), 1)

    @property
    def others(self) -> str:
        """What else was asked, in a line; '' where nothing was."""
        told = []
        for kind, counts in self.besides.items():
            failed = counts.get("failed", 0)
            read = f"{count(failed)} not read" if failed else "all read"
            told.append(f"{count(sum(counts.values()))} of kind {kind} ({read})")
        return ", ".join(told)

    @property
    def words(self) -> str:
        """What came of all answers, in a line."""
        total = max(sum(self.counts[ALL].values()), 1)
        shares = [f"{percent(self.counts[ALL].get(kind, 0) / total)} {kind}" for kind in self.kinds]
        return f"{count(total)} pages answered in words: {', '.join(shares)}; at most {self.limit} may fail"

    @property
    def limit(self) -> str:
        """The share of failures from which on a run is marked failed."""
        return percent(self.most_failed) if self.most_failed * 100 % 1 == 0 else f"{self.most_failed * 100:g}\u00a0%"


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """One policy's answers."""

    policy: str
    ink: str
    cells: Sequence[tuple[str, str]]  # a count and its share, for each kind


def readings(run: RunDir, stands: Standings) -> Readings | None:
    """Return how answers were read; None where nobody was asked in words."""
    pages = run.pages
    if "reading" not in pages.column_names:
        return None
    table = pa.table({name: pages[name].cast(pa.string()) for name in ("policy", "reading")})
    known = table.filter(pc.is_valid(table["reading"])).group_by(["policy", "reading"]).aggregate([([], "count_all")])
    if not known.num_rows:
        return None
    found: dict[str, dict[str, int]] = {policy: {} for policy in [*stands.policies, ALL]}
    for row in known.to_pylist():
        kind, number = row["reading"], row["count_all"]
        found.setdefault(row["policy"], {})[kind] = number
        found[ALL][kind] = found[ALL].get(kind, 0) + number
    told = [kind for kind in KINDS if kind in found[ALL] or kind not in TYPED]
    told += sorted(set(found[ALL]) - set(KINDS))
    counts = {policy: mine for policy, mine in found.items() if mine and policy != ALL} | {ALL: found[ALL]}
    besides = {kind: mine for kind, mine in run.readings.items() if kind != "page"}
    return Readings(told, counts, besides, _most_failed(run.manifest))


def reading_rows(found: Readings, stands: Standings) -> list[ReadingRow]:
    """Return a row of counts and shares for each policy, and one for all."""
    colours = inks(stands)
    return [
        ReadingRow(
            policy,
            colours.get(policy, ""),
            [(count(mine.get(kind, 0)), percent(mine.get(kind, 0) / sum(mine.values()))) for kind in found.kinds],
        )
        for policy, mine in found.counts.items()
    ]


def too_many(found: Readings) -> Note | None:
    """Return a loud note where more answers failed than may."""
    if found.failed <= found.most_failed:
        return None
    text = f"{percent(found.failed)} of all questions got no answer that could be read; at most {found.limit} may."
    return Note("answers: failed", f"{text} Figures and words here tell little of these users.", "red")


def who(run: RunDir) -> list[tuple[str, str]]:
    """Return who was asked, with what, and what it took; each word of it from the manifest or the run's record."""
    talkers = _talkers(_mapping(discreet(run.manifest.get("population"))))
    usage = run.usage
    tokens = sum(one.tokens_in for one in usage.values()), sum(one.tokens_out for one in usage.values())
    lost = sum(one.broke_off for one in usage.values())
    broke_off = f"; {count(lost)} of the requests broke off: the most that they can have taken counts" if lost else ""
    found = []
    for label, told in talkers.items():
        model = _mapping(told.get("model"))
        settings = {name: value for name, value in model.items() if name not in ("kind", "model")}
        some = {name: value for name, value in settings.items() if value not in (None, {}, [])}
        number = run.manifest.get("users") if not label else None
        whose = f"{label}: " if label else ""
        found += [
            ("who they are", f"{whose}{_who(number, model)}"),
            ("asked with", whose + in_words(some) if some else ""),
        ]
        found.append(("prompts", f"version {told['prompts']}" if told.get("prompts") else ""))
    found += [
        ("forms asked for by", _ways(run.manifest.get("ways"))),
        ("calls", _calls(usage)),
        ("tokens", f"{count(tokens[0])} in, {count(tokens[1])} out{broke_off}" if any(tokens) else ""),
    ]
    found = list(dict.fromkeys(found))
    return [(name, words) for name, words in found if words]


def _ways(told: object) -> str:
    return ", ".join(WAYS.get(str(way), str(way)) for way in told) if isinstance(told, list) else ""


def _talkers(population: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what is told of those who were asked: of the population, by '', or of those of a mixture, by their labels.

    Where nothing is told of a model it is the whole population's.
    """
    members = {label: _mapping(told) for label, told in _mapping(population.get("members")).items()}
    found = {str(label): told for label, told in members.items() if told.get("model")}
    return found or {"": population}


def _who(users: object, model: Mapping[str, Any]) -> str:
    number = f"{count(users)} users" if isinstance(users, int) else "users"
    if model.get("kind") == "scripted":
        return f"{number}, played by a scripted stand-in: plain rules write every answer, no language model"
    if model.get("model"):
        return f"{number}, each an agent that the language model {model['model']} answers for"
    return f"{number} who were asked in words; the manifest names no model"


def _calls(usage: Mapping[str, Usage]) -> str:
    if not usage:
        return ""
    kinds = ", ".join(f"{kind} {count(one.calls)}" for kind, one in usage.items())
    failed = sum(one.failed for one in usage.values())
    lost = f"; {count(failed)} without an answer" if failed else ""
    return f"{count(sum(one.calls for one in usage.values()))} on record ({kinds}){lost}"


def _most_failed(manifest: Mapping[str, Any]) -> float:
    population = _mapping(manifest.get("population"))
    told = population.get("most_failed", _mapping(population.get("options")).get("most_failed", MOST_FAILED))
    return float(told) if isinstance(told, int | float) else MOST_FAILED


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
