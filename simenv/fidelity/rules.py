"""What a user would not do: rules that read whole sessions, each with the sessions it can say anything of."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import wraps

import numpy as np

from simenv.arrays import BoolArray, FloatArray, IntArray
from simenv.pages import EMPTY, Grade, Turn, watched

from .bench import Played
from .statements import Statements, Title

PRAISE = re.compile(r"\b(love[ds]?|great|excellent|perfect\w*|wonderful|delight\w*|enjoy\w*|fantastic)\b", re.I)
BLAME = re.compile(r"\b(hate[ds]?|awful|terrible|disappoint\w*|boring|bored|dull|waste|annoy\w*)\b", re.I)
NOT = re.compile(r"\b(?:not|no|never|hardly|nothing|without)\b|n['’]t\b", re.I)
HAPPY, UNHAPPY = 8.5, 3.0  # satisfaction
FULFILLED = ("called away", "enough", "found")  # causes that leave a satisfied user satisfied
ALIKE = 3  # pages from which on equal answers are odd
EXCEPTIONS = 1  # likes against one's stated taste that anybody may make
Rows = BoolArray  # [B], which of a turn's users
Seats = BoolArray  # [S], which of the sessions


@dataclass(frozen=True, slots=True)
class Scale:
    """From where on the data's ratings are high, and up to where low."""

    high: float
    low: float


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Sessions under one policy, and what else is known of their users and items."""

    played: Played
    scale: Scale
    statements: Statements = field(default_factory=Statements)
    keeps_empty: bool = True  # whether reactions to places without an item are on record

    @property
    def turns(self) -> list[Turn]:
        """All pages and the reactions to them."""
        return self.played.turns


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that a user would not do."""

    name: str
    severity: int  # 1 odd, 2 a contradiction, 3 impossible
    applies: Callable[[Evidence], Seats]  # sessions that have what the rule looks at
    finds: Callable[[Evidence], Seats]  # those that break it
    missing: str  # why it applies to no session, where it does not


def _on_pages(check: Callable[[Turn, Evidence], Rows]) -> Callable[[Evidence], Seats]:
    """Return the check of whole sessions that finds those with such a page."""

    @wraps(check)
    def of_sessions(evidence: Evidence) -> Seats:
        found = np.zeros(evidence.played.count, dtype=bool)
        for turn in evidence.turns:
            found[turn.page.seats[check(turn, evidence)]] = True
        return found

    return of_sessions


@_on_pages
def _has_room(turn: Turn, evidence: Evidence) -> Rows:
    return _any(turn.page.items == EMPTY) & evidence.keeps_empty


@_on_pages
def _absent(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    return _any((turn.page.items == EMPTY) & (turn.reaction.grades != Grade.UNSEEN))


@_on_pages
def _rated(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    return _any(np.isfinite(turn.reaction.ratings))


@_on_pages
def _unwatched(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    rated = np.isfinite(turn.reaction.ratings)
    return _any(rated & ~watched(turn.reaction.grades, turn.reaction.ratings))


def _rated_apart(evidence: Evidence) -> Seats:
    """Return sessions with ratings; none where each rating goes with one grade, as if one were read off the other."""
    if not _rated(evidence).any():
        return np.zeros(evidence.played.count, dtype=bool)
    ratings = np.concatenate([turn.reaction.ratings.ravel() for turn in evidence.turns])
    grades = np.concatenate([turn.reaction.grades.ravel() for turn in evidence.turns])
    known = np.isfinite(ratings)
    levels, level = np.unique(ratings[known], return_inverse=True)
    pairs = np.bincount(level * len(Grade) + grades[known], minlength=len(levels) * len(Grade)) > 0
    is_function = pairs.sum() == len(levels)
    return _rated(evidence) & (not is_function or _at_odds(evidence).any())


@_on_pages
def _at_odds(turn: Turn, evidence: Evidence) -> Rows:
    grades, ratings = turn.reaction.grades, turn.reaction.ratings
    liked_low = (grades == Grade.LIKED) & (ratings <= evidence.scale.low)
    disliked_high = (grades == Grade.DISLIKED) & (ratings >= evidence.scale.high)
    return _any(liked_low | disliked_high)


@_on_pages
def _spoke(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    return _tones(turn) != 0


@_on_pages
def _other_words(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    pleased, tone = turn.reaction.satisfaction, _tones(turn)
    return ((tone > 0) & (pleased <= UNHAPPY)) | ((tone < 0) & (pleased >= HAPPY))


@_on_pages
def _left_first(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    return turn.reaction.exits & (turn.page.number == 0)


@_on_pages
def _tired_at_once(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    return _cause(turn, "tired", "fatigue", "exhaust") & (turn.page.number == 0)


@_on_pages
def _left_satisfied(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    at_once = turn.reaction.exits & (turn.page.number == 0) & (turn.reaction.satisfaction >= HAPPY)
    return at_once & ~_cause(turn, *FULFILLED)


@_on_pages
def _left_disappointed(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    return _cause(turn, "disappoint", "dissatisf")


@_on_pages
def _after_praise(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    liked = (turn.reaction.grades == Grade.LIKED).sum(axis=1) >= 0.8 * (turn.page.items != EMPTY).sum(axis=1)
    full = _any(turn.page.items != EMPTY)
    return _cause(turn, "disappoint", "dissatisf") & ((turn.reaction.satisfaction >= HAPPY) | (liked & full))


@_on_pages
def _one_sided(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    all_liked, all_disliked = _sides(turn)
    return all_liked | all_disliked


@_on_pages
def _other_grades(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    all_liked, all_disliked = _sides(turn)
    pleased = turn.reaction.satisfaction
    return (all_liked & (pleased <= UNHAPPY)) | (all_disliked & (pleased >= HAPPY))


@_on_pages
def _remembers(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    told = turn.reaction.remembered
    return np.zeros(len(turn.page.users), dtype=bool) if told is None else np.array([any(_texts(one)) for one in told])


@_on_pages
def _misremembered(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    found = np.zeros(len(turn.page.users), dtype=bool)
    taken = _any(watched(turn.reaction.grades, turn.reaction.ratings))
    for row, told in enumerate(turn.reaction.remembered or ()):
        text = " ".join(_texts(told)).casefold()
        pleased = float(turn.reaction.satisfaction[row])
        took_nothing, took = "took nothing" in text, "took " in text.replace("took nothing", "")
        unhappy = "was dissatisfied" in text
        happy = "was satisfied" in text
        found[row] = (took_nothing and taken[row]) or (took and not taken[row])
        found[row] |= (happy and pleased < UNHAPPY) or (unhappy and pleased > HAPPY)
    return found


@_on_pages
def _gave_verdict(turn: Turn, evidence: Evidence) -> Rows:  # noqa: ARG001
    return np.isfinite(_verdicts(turn))


def _other_verdict(evidence: Evidence) -> Seats:
    """Return sessions whose verdict after leaving is the reverse of what was said of their pages."""
    total, pages, verdict = np.zeros((3, evidence.played.count))
    verdict[:] = np.nan
    for turn in evidence.turns:
        seats, said = turn.page.seats, _verdicts(turn)
        total[seats] += turn.reaction.satisfaction
        pages[seats] += 1
        verdict[seats] = np.where(np.isfinite(said), said, verdict[seats])
    pleased = total / np.maximum(pages, 1)
    return ((verdict >= HAPPY) & (pleased <= UNHAPPY)) | ((verdict <= UNHAPPY) & (pleased >= HAPPY))


def _is_shown_again(evidence: Evidence) -> Seats:
    seats, items, _, _ = _placed(evidence)
    span = int(items.max(initial=0)) + 1
    places, counts = np.unique(seats * span + items, return_counts=True)
    return _marked(evidence, places[counts > 1] // span)


def _two_verdicts(evidence: Evidence) -> Seats:
    """Return sessions in which one item is liked at one time and disliked at another."""
    seats, items, grades, ratings = _placed(evidence)
    span = int(items.max(initial=0)) + 1
    places = seats * span + items
    good = (grades == Grade.LIKED) | (ratings >= evidence.scale.high)
    bad = (grades == Grade.DISLIKED) | (ratings <= evidence.scale.low)
    twice, counts = np.unique(places, return_counts=True)
    both = np.intersect1d(np.intersect1d(places[good], places[bad]), twice[counts > 1])
    return _marked(evidence, both // span)


def _alike_again(evidence: Evidence) -> Seats:
    """Return sessions of several pages that were all answered by one grade, one rating and one satisfaction."""
    lowest, highest = np.full((3, evidence.played.count), np.inf), np.full((3, evidence.played.count), -np.inf)
    unclear = np.zeros(evidence.played.count, dtype=bool)
    for turn in evidence.turns:
        seats, grades, ratings = turn.page.seats, turn.reaction.grades, turn.reaction.ratings
        seen = grades != Grade.UNSEEN
        unclear[seats] |= ~seen.any(axis=1)
        told = np.where(np.isfinite(ratings), ratings, -1.0)
        for row, values in enumerate((np.where(seen, grades, np.nan), np.where(seen, told, np.nan))):
            lowest[row, seats] = np.fmin(lowest[row, seats], _least(values))
            highest[row, seats] = np.fmax(highest[row, seats], -_least(-values))
        lowest[2, seats] = np.minimum(lowest[2, seats], turn.reaction.satisfaction)
        highest[2, seats] = np.maximum(highest[2, seats], turn.reaction.satisfaction)
    return _is_long(evidence) & ~unclear & (lowest == highest).all(axis=0)


def _is_long(evidence: Evidence) -> Seats:
    pages = np.zeros(evidence.played.count)
    for turn in evidence.turns:
        pages[turn.page.seats] += 1
    return pages >= ALIKE


@_on_pages
def _met_rejected(turn: Turn, evidence: Evidence) -> Rows:
    return _any(_rejected(turn, evidence) & (turn.reaction.grades != Grade.UNSEEN))


def _likes_rejected(evidence: Evidence) -> Seats:
    """Return sessions that like most of what their users state to dislike, and more than one exception."""
    likes, seen = np.zeros((2, evidence.played.count))
    for turn in evidence.turns:
        rejected = _rejected(turn, evidence)
        likes[turn.page.seats] += (rejected & (turn.reaction.grades == Grade.LIKED)).sum(axis=1)
        seen[turn.page.seats] += (rejected & (turn.reaction.grades != Grade.UNSEEN)).sum(axis=1)
    return (likes > EXCEPTIONS) & (likes > seen / 2)


@_on_pages
def _has_words(turn: Turn, evidence: Evidence) -> Rows:
    told = turn.reaction.words or [None] * len(turn.page.users)
    return np.array([bool(one) for one in told], dtype=bool) & bool(any(evidence.statements.titles))


def _names_strangers(evidence: Evidence) -> Seats:
    """Return sessions whose words name an item that was not shown to them and that they do not state to know."""
    found = np.zeros(evidence.played.count, dtype=bool)
    statements = evidence.statements
    if not any(statements.titles) or not any(any(turn.reaction.words or ()) for turn in evidence.turns):
        return found
    shown: dict[int, set[Title]] = defaultdict(set)
    for turn in sorted(evidence.turns, key=lambda turn: int(turn.page.number.min(initial=0))):
        words = turn.reaction.words or [None] * len(turn.page.users)
        rows = zip(turn.page.seats.tolist(), turn.page.users.tolist(), turn.page.items.tolist(), words, strict=True)
        for seat, user, items, said in rows:
            shown[seat].update(statements.title(item) for item in items if item != EMPTY)
            if strange := statements.named(said or "") - shown[seat]:
                known = shown[seat] | statements.stated(user)
                found[seat] |= any(not any(_holds(one, title) for one in known) for title in strange)
    return found


RULES = (
    Rule(
        "reacted to an item that was not on the page",
        3,
        _has_room,
        _absent,
        "every page was full, or only places with an item are on record",
    ),
    Rule("rated what was not watched", 3, _rated, _unwatched, "nobody gave a rating"),
    Rule("memory contradicts what happened", 3, _remembers, _misremembered, "nobody's memory is on record"),
    Rule(
        "rating contradicts the grade",
        2,
        _rated_apart,
        _at_odds,
        "nobody gave a rating, or each rating goes with one grade and either follows from the other",
    ),
    Rule(
        "left disappointed right after praise",
        2,
        _left_disappointed,
        _after_praise,
        "nobody left disappointed",
    ),
    Rule("left tired on the first page", 2, _left_first, _tired_at_once, "nobody left on the first page"),
    Rule(
        "words contradict the satisfaction",
        2,
        _spoke,
        _other_words,
        "nobody's words praise or blame",
    ),
    Rule(
        "satisfaction contradicts all grades of the page",
        2,
        _one_sided,
        _other_grades,
        "nobody liked, or disliked, all of a page",
    ),
    Rule(
        "verdict after leaving contradicts the pages",
        2,
        _gave_verdict,
        _other_verdict,
        "nobody was asked for a verdict after leaving",
    ),
    Rule(
        "liked and disliked the same item",
        2,
        _is_shown_again,
        _two_verdicts,
        "no item was shown twice in a session",
    ),
    Rule(
        "liked most of what their stated taste rejects",
        2,
        _met_rejected,
        _likes_rejected,
        "nobody who states what they dislike was shown such an item",
    ),
    Rule(
        "left after the first page although satisfied",
        1,
        _left_first,
        _left_satisfied,
        "nobody left on the first page",
    ),
    Rule(
        "words name an item that was not shown",
        1,
        _has_words,
        _names_strangers,
        "no words are on record, or no titles",
    ),
    Rule(
        f"answered {ALIKE} pages or more all alike",
        1,
        _is_long,
        _alike_again,
        f"no session has {ALIKE} pages",
    ),
)


def _any(places: BoolArray) -> Rows:
    return np.asarray(places.any(axis=1), dtype=bool)


def _marked(evidence: Evidence, seats: IntArray) -> Seats:
    found = np.zeros(evidence.played.count, dtype=bool)
    found[seats] = True
    return found


def _placed(evidence: Evidence) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Return the seat, item, grade and rating of every place that was looked at."""
    parts = []
    for turn in evidence.turns:
        there = (turn.page.items != EMPTY) & (turn.reaction.grades != Grade.UNSEEN)
        seats = np.broadcast_to(turn.page.seats[:, None], there.shape)
        parts.append([one[there] for one in (seats, turn.page.items, turn.reaction.grades, turn.reaction.ratings)])
    seats, items, grades, ratings = (np.concatenate(column) for column in zip(*parts, strict=True))
    return seats.astype(np.int64), items.astype(np.int64), grades, ratings


def _rejected(turn: Turn, evidence: Evidence) -> BoolArray:
    """Return which shown items are of a kind that the user states to dislike: [B, K]."""
    found = np.zeros(turn.page.items.shape, dtype=bool)
    statements = evidence.statements
    if not statements.rejecting or not any(statements.categories):
        return found
    for row in np.flatnonzero(np.isin(turn.page.users, statements.rejecting)).tolist():
        items = turn.page.items[row]
        rejected = statements.rejected(int(turn.page.users[row]))
        found[row] = (items != EMPTY) & rejected[np.maximum(items, 0)]
    return found


def _sides(turn: Turn) -> tuple[Rows, Rows]:
    """Return who liked all of a page's items, and who disliked all, of two at least."""
    there = turn.page.items != EMPTY
    several = there.sum(axis=1) > 1
    liked, disliked = (
        ((turn.reaction.grades == grade) | ~there).all(axis=1) & several for grade in (Grade.LIKED, Grade.DISLIKED)
    )
    return liked, disliked


def _verdicts(turn: Turn) -> FloatArray:
    known = turn.reaction.verdicts
    return np.full(len(turn.page.users), np.nan) if known is None else np.asarray(known, dtype=np.float64)


def _least(values: FloatArray) -> FloatArray:
    """Return the least known value of each row; infinite where none is known."""
    return np.where(np.isnan(values), np.inf, values).min(axis=1)


def _holds(long: Title, short: Title) -> bool:
    """Tell whether a title stands within another."""
    return any(long[place : place + len(short)] == short for place in range(len(long) - len(short) + 1))


def _cause(turn: Turn, *words: str) -> Rows:
    told = [str(cause).casefold() for cause in turn.reaction.causes.tolist()]
    meant = {cause for cause in set(told) if any(word in cause for word in words)}
    return np.array([cause in meant for cause in told], dtype=bool) & turn.reaction.exits


def _tones(turn: Turn) -> IntArray:
    return np.array([_tone(one) for one in turn.reaction.words or [None] * len(turn.page.users)], dtype=np.int64)


def _tone(words: str | None) -> int:
    """Return 1 for praise alone, -1 for blame alone, 0 for neither, for both, and where something is denied."""
    if not words or NOT.search(words):
        return 0
    return int(bool(PRAISE.search(words))) - int(bool(BLAME.search(words)))


def _texts(told: str | None) -> Iterator[str]:
    """Yield what was written to memory at a page: its third part is the text."""
    try:
        rows = json.loads(told or "[]")
    except ValueError:
        return
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Sequence) and len(row) > 2 and isinstance(row[2], str) and row[1] != "belief":
            yield row[2].partition(":")[0] if row[1] == "feeling" else row[2]
