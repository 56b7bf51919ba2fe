"""Do sessions contradict themselves? Rule-based reviewers of a log, and the metrics without what they object to."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simenv.arrays import BoolArray, FloatArray
from simenv.dataset import disliked_to, liked_from
from simenv.intervals import Interval
from simenv.pages import EMPTY, Grade, Turn, watched

from .bench import METRICS, Bench, Played
from .results import Figure, Limit, Result, Table, held, result
from .spread import mean, spread

PRAISE = re.compile(r"\b(love[ds]?|great|excellent|perfect\w*|wonderful|delight\w*|enjoy\w*|fantastic)\b", re.I)
BLAME = re.compile(r"\b(hate[ds]?|awful|terrible|disappoint\w*|boring|bored|dull|waste|annoy\w*)\b", re.I)
NOT = re.compile(r"\b(?:not|no|never|hardly|nothing|without)\b|n['’]t\b", re.I)
HAPPY, UNHAPPY = 8.5, 3.0  # satisfaction
TAINTING = 2  # severity from which on a session is left out
Rows = BoolArray  # [B], which of a turn's users


@dataclass(frozen=True, slots=True)
class Scale:
    """From where on the data's ratings are high, and up to where low."""

    high: float
    low: float


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that a user would not do."""

    name: str
    severity: int  # 1 odd, 2 a contradiction, 3 impossible
    finds: Callable[[Turn, Scale], Rows]


def _absent(turn: Turn, scale: Scale) -> Rows:  # noqa: ARG001
    return _any((turn.page.items == EMPTY) & (turn.reaction.grades != Grade.UNSEEN))


def _unwatched(turn: Turn, scale: Scale) -> Rows:  # noqa: ARG001
    rated = np.isfinite(turn.reaction.ratings)
    return _any(rated & ~watched(turn.reaction.grades, turn.reaction.ratings))


def _at_odds(turn: Turn, scale: Scale) -> Rows:
    grades, ratings = turn.reaction.grades, turn.reaction.ratings
    liked_low = (grades == Grade.LIKED) & (ratings <= scale.low)
    disliked_high = (grades == Grade.DISLIKED) & (ratings >= scale.high)
    return _any(liked_low | disliked_high)


def _other_words(turn: Turn, scale: Scale) -> Rows:  # noqa: ARG001
    pleased = turn.reaction.satisfaction
    tone = np.array([_tone(one) for one in turn.reaction.words or [None] * len(pleased)])
    return ((tone > 0) & (pleased <= UNHAPPY)) | ((tone < 0) & (pleased >= HAPPY))


def _tired_at_once(turn: Turn, scale: Scale) -> Rows:  # noqa: ARG001
    return _cause(turn, "tired", "fatigue", "exhaust") & (turn.page.number == 0)


def _after_praise(turn: Turn, scale: Scale) -> Rows:  # noqa: ARG001
    liked = (turn.reaction.grades == Grade.LIKED).sum(axis=1) >= 0.8 * (turn.page.items != EMPTY).sum(axis=1)
    full = _any(turn.page.items != EMPTY)
    return _cause(turn, "disappoint", "dissatisf") & ((turn.reaction.satisfaction >= HAPPY) | (liked & full))


def _misremembered(turn: Turn, scale: Scale) -> Rows:  # noqa: ARG001
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


RULES = (
    Rule("reacted to an item that was not on the page", 3, _absent),
    Rule("rated what was not watched", 3, _unwatched),
    Rule("memory contradicts what happened", 3, _misremembered),
    Rule("rating contradicts the grade", 2, _at_odds),
    Rule("left disappointed right after praise", 2, _after_praise),
    Rule("left tired on the first page", 2, _tired_at_once),
    Rule("words contradict the satisfaction", 2, _other_words),
)


def review(bench: Bench) -> Result:
    """Review the sessions in which policies were ranked."""
    ratings = np.concatenate([bench.train.interactions.ratings, bench.held_out.ratings])
    known = ratings[np.isfinite(ratings)]
    scale = Scale(liked_from(ratings), disliked_to(ratings)) if len(known) else Scale(np.inf, -np.inf)
    return reviewed(bench.contest, scale, len(bench.users), bench.limits)


def reviewed(logs: Mapping[str, Played], scale: Scale, users: int, limits: Mapping[str, Limit]) -> Result:
    """Return which sessions contradict themselves, under which policy, and what is left without them."""
    counts = {rule.name: dict.fromkeys(logs, 0) for rule in RULES}
    tainted: dict[str, BoolArray] = {}
    for policy, played in logs.items():
        bad = np.zeros(played.count, dtype=bool)
        for rule in RULES:
            mine = np.zeros(played.count, dtype=bool)
            for turn in played.turns:
                mine[turn.page.seats[rule.finds(turn, scale)]] = True
            counts[rule.name][policy] = int(mine.sum())
            if rule.severity >= TAINTING:
                bad |= mine
        tainted[policy] = bad
    likes = {policy: played.metrics[:, METRICS.index("N_like")] for policy, played in logs.items()}
    by_user = np.stack([bad.reshape(-1, users) for bad in tainted.values()]).mean(axis=(0, 1))
    shares = {policy: float(bad.mean()) for policy, bad in tainted.items()}
    gains = {policy: _gain(likes[policy], tainted[policy]) for policy in logs}
    most = max(gains, key=lambda policy: gains[policy])
    share = spread(mean(by_user), users)
    lent = Interval(gains[most], np.nan, np.nan, users)
    figures = [
        held(limits, "review.tainted", "share of sessions that contradict themselves", share),
        Figure("likes that they lend to the policy they favour most", lent),
        Figure("pairs of policies that change places without them", _swaps(likes, tainted)),
    ]
    total = sum(played.count for played in logs.values())
    heads = ("finding", "severity", "sessions", "most under")
    found = [(rule.name, rule.severity, sum(counts[rule.name].values()), _most(counts[rule.name])) for rule in RULES]
    without = tuple(
        (policy, shares[policy], float(likes[policy].mean()), _mean(likes[policy][~tainted[policy]])) for policy in logs
    )
    tables = [
        Table(f"What reviewers found in {total:,} sessions", heads, tuple(found)),
        Table("Without the sessions objected to", ("policy", "tainted", "likes", "likes without"), without),
    ]
    return result("review", figures, "reviewers found next to nothing in their sessions", tables)


def _any(places: BoolArray) -> Rows:
    return np.asarray(places.any(axis=1), dtype=bool)


def _cause(turn: Turn, *words: str) -> Rows:
    told = [str(cause).casefold() for cause in turn.reaction.causes.tolist()]
    meant = {cause for cause in set(told) if any(word in cause for word in words)}
    return np.array([cause in meant for cause in told], dtype=bool) & turn.reaction.exits


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


def _most(counts: Mapping[str, int]) -> str:
    first = max(counts, key=lambda policy: counts[policy])
    return first if counts[first] else ""


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _gain(likes: FloatArray, bad: BoolArray) -> float:
    """Return how many likes a session has more with the tainted sessions than without."""
    return float(likes.mean() - likes[~bad].mean()) if (~bad).any() else 0.0


def _swaps(likes: Mapping[str, FloatArray], tainted: Mapping[str, BoolArray]) -> Interval:
    if len(likes) < 2:
        return Interval(0.0, np.nan, np.nan, 0)
    before = np.array([values.mean() for values in likes.values()])
    after = np.array([_mean(likes[policy][~tainted[policy]]) for policy in likes])
    gaps = [np.sign(one[:, None] - one[None, :])[np.triu_indices(len(one), 1)] for one in (before, after)]
    return Interval(float((gaps[0] * gaps[1] < 0).mean()), np.nan, np.nan, len(gaps[0]))
