"""The battery: every test that can be made, and one verdict for the whole."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from simenv.errors import SimenvError
from simenv.population import judging

from .behaviour import behaviour
from .bench import Bench, Spent, metered
from .cues import cues
from .dose import dose
from .interference import interference, sessions_a_user
from .ranking import ranking
from .ratings import ratings
from .results import Result, Word, unmeasured, worst
from .review import review
from .taste import taste

TESTS: Mapping[str, Callable[[Bench], Result]] = {
    "taste": taste,
    "ratings": ratings,
    "behaviour": behaviour,
    "dose": dose,
    "interference": interference,
    "cues": cues,
    "ranking": ranking,
    "review": review,
}
QUESTIONS = {
    "taste": "Do they want what real users chose?",
    "ratings": "Do they rate as real users do?",
    "behaviour": "Do they browse as people do?",
    "dose": "Do they notice lists made worse?",
    "interference": "Does the list decide, or who they are?",
    "cues": "How far do titles and texts move them?",
    "ranking": "Do they rank policies as held-out rows do?",
    "review": "Do their sessions contradict themselves?",
}
MOST_POLICIES = 3  # whose lists users are tried with, where these are not known yet
LEAST = 10  # users, below which nothing can be told
Told = Callable[[str, int, int], None]  # which test begins, how many are done, of how many


@dataclass(frozen=True, slots=True)
class Battery:
    """What all tests found."""

    word: Word
    note: str
    results: tuple[Result, ...]
    users: int
    asked: int  # pages shown and items judged
    seconds: float

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "verdict": self.word,
            "note": self.note,
            "tests": [one.plain() | {"question": QUESTIONS[one.test]} for one in self.results],
            "users": self.users,
            "asked": self.asked,
            "seconds": round(self.seconds, 2),
        }


def battery(
    bench: Bench,
    *,
    tests: Collection[str] | None = None,
    most: int | None = None,
    told: Told = lambda *_: None,
) -> Battery:
    """Make every test, or these; ask for at most so many answers, and say which tests that left out."""
    check_tests(tests)
    begin, meter = time.perf_counter(), metered(bench.population, most)
    tried = replace(bench, population=meter)
    wanted = [name for name in TESTS if tests is None or name in tests]
    found = []
    for done, name in enumerate(wanted):
        told(name, done, len(wanted))
        found.append(_made(name, tried))
    return Battery(
        word_of(found), note_of(found), tuple(found), len(bench.users), meter.asked, time.perf_counter() - begin
    )


def check_tests(names: Collection[str] | None) -> None:
    """Refuse a test that is none of those known."""
    for name in names or ():
        if name not in TESTS:
            raise SimenvError(f"fidelity.tests: no test '{name}'; there are {', '.join(TESTS)}")


def _made(name: str, bench: Bench) -> Result:
    if len(bench.users) < LEAST:
        return unmeasured(name, f"{len(bench.users)} users are too few; it takes {LEAST}")
    try:
        return TESTS[name](bench)
    except Spent as spent:
        return unmeasured(name, str(spent))


def word_of(found: Collection[Result]) -> Word:
    """Return the worst verdict; to pass takes half of all tests there are, else nobody was measured."""
    word = worst(one.word for one in found)
    passed = sum(one.word == "pass" for one in found)
    return "not measured" if word == "pass" and 2 * passed < len(TESTS) else word


def note_of(found: Collection[Result]) -> str:
    """Return in a sentence which tests did not pass, the worst first, and which were not made."""
    parts = []
    for word in ("fail", "warn"):
        parts += [f"{word}: {one.test} ({_short(one.note)})" for one in found if one.word == word]
    missing = [one.test for one in found if one.word == "not measured"]
    if missing:
        parts.append(f"not measured: {', '.join(missing)}")
    passed = sum(one.word == "pass" for one in found)
    return "; ".join([*parts, f"{passed} of {len(TESTS)} tests passed"]) + "."


def _short(note: str) -> str:
    """Return the first thing that a note says, and how many more there are."""
    first, *more = note.split("; ")
    # A rule has its own semicolon, within brackets.
    first = first.partition(" (at ")[0].partition(" (certain")[0]
    rest = sum("(" in one for one in more)
    return f"{first}, and {rest} more" if rest else first


def answers_a_user(bench: Bench) -> int:
    """Return about how many answers the battery asks of each user, if he stays to the last page."""
    repeats, pages = bench.repeats, bench.max_pages
    by_pages = judging(bench.population) is None
    judged = repeats * -(-40 // bench.page_size) if by_pages else 38
    rated = repeats if by_pages else 2
    lists = (3 if bench.is_brief else 9) + (5 if bench.is_brief else 13) + 4
    varied = sessions_a_user(bench, len(bench.lists) or MOST_POLICIES)
    return judged + 3 * rated + (lists * repeats + varied) * pages
