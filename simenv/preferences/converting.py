"""Records as what is learnt from: pairs, lists, groups with rewards, and rows of prompt and completion.

All are by number: of a record (its prompt), of a candidate among all candidates, of an item. Whatever a user
liked, in any record or training row given, is never rejected; nor is what was shown and not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from simenv.arrays import BoolArray, FloatArray, GradeArray, IntArray
from simenv.chance import key, mix
from simenv.dataset import Dataset, grades_of
from simenv.errors import DataError
from simenv.pages import EMPTY, Grade

from .records import NONE, Records, begins, pair_keys, spread

AGAINST = {
    "both": (Grade.PASSED, Grade.DISLIKED),
    "passed": (Grade.PASSED,),
    "disliked": (Grade.DISLIKED,),
}
UNOBSERVED = ("never", "negative")
REWARDS = {Grade.DISLIKED: -1.0, Grade.PASSED: 0.0, Grade.VIEWED: 0.5, Grade.LIKED: 1.0}
Rows = TypeVar("Rows", "Pairs", "Labels")


@dataclass(frozen=True, eq=False)
class Pairs:
    """One item chosen over another by one user after one past."""

    rows: IntArray  # [P], the record
    users: IntArray  # [P]
    chosen_at: IntArray  # [P], its place among the records' candidates
    rejected_at: IntArray  # [P]
    chosen: IntArray  # [P], the item
    rejected: IntArray  # [P]
    gaps: FloatArray  # [P], between the grades, or the ratings
    confidence: FloatArray  # [P], 0 to 1

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Labels:
    """Single items, each good or not for one user after one past."""

    rows: IntArray  # [N], the record
    users: IntArray  # [N]
    at: IntArray  # [N], its place among the records' candidates
    items: IntArray  # [N]
    good: BoolArray  # [N]
    confidence: FloatArray  # [N], 0 to 1

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Lists:
    """One item, or all that were, chosen over several."""

    rows: IntArray  # [L], the record
    chosen: IntArray  # [L, C], EMPTY where there are fewer
    rejected: IntArray  # [L, J], the same
    gaps: FloatArray  # [L, J], of the chosen to each rejected one, the least where several are chosen; 0 if EMPTY
    confidence: FloatArray  # [L], the least of its pairs

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Groups:
    """Candidates of one past with a reward each."""

    rows: IntArray  # [G], the record
    candidates: IntArray  # [G, M], EMPTY where there are fewer
    rewards: FloatArray  # [G, M], NaN where EMPTY

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class SFTRows:
    """A past, and the item that was liked after it."""

    rows: IntArray  # [S], the record
    items: IntArray  # [S]
    confidence: FloatArray  # [S]

    def __len__(self) -> int:
        return len(self.rows)


def to_pairs(
    records: Records,
    *,
    against: str = "both",
    least_gap: float = 1.0,
    by: str = "grade",
    least: Grade = Grade.LIKED,
    unobserved: str = "never",
    level: int | None = None,
    train: Dataset | None = None,
    redrawn: GradeArray | None = None,
) -> Pairs:
    """Return each candidate graded `least` or better over each that the same record rejects.

    `by='grade'`: rejected are those graded as `against` says, `least_gap` grades lower. `by='rating'`: rated
    ones, `least_gap` lower. `unobserved='negative'` lets in candidates that were never shown, a gap of 1
    below what was liked; `level` keeps those of this level of self-play alone. `redrawn` [draws, C] are the grades that
    candidates get with other chance: the confidence of a pair is then the chance that the one is graded above the other
    again. Without them it is told by the user's other judgements of the two, and NaN where there are none.
    """
    if by not in ("grade", "rating"):
        raise DataError(f"by {by}: there are grade and rating")
    if not least_gap > 0:
        raise DataError(f"a least gap of {least_gap:g}: pairs take a gap above 0")
    grades, ratings = records.candidates.grades, records.candidates.ratings
    free = ~_is_liked(records, train)
    if by == "grade":
        values = grades.astype(np.float32)
        worse = free & _is_rejected(records, against, unobserved, level)
        values[grades == Grade.UNSEEN] = float(Grade.VIEWED)
        better = grades >= least
    else:
        values = ratings
        worse = free & ~np.isnan(ratings) & (grades != Grade.UNSEEN)
        better = (grades >= least) & ~np.isnan(ratings)
    one, other = _crossed(records, better, worse)
    gaps = values[one] - values[other]
    kept = (gaps >= least_gap) & (records.candidates.items[one] != records.candidates.items[other])
    one, other, gaps = one[kept], other[kept], gaps[kept]
    rows = records.candidates.rows[one]
    if redrawn is not None and by == "grade":
        sure = _chance_again(redrawn, one, other)
    else:
        at_least, at_most = _agreement(records)
        sure = at_least[one] * at_most[other]
    return Pairs(
        rows,
        records.users[rows],
        one,
        other,
        records.candidates.items[one],
        records.candidates.items[other],
        gaps.astype(np.float32),
        (records.confidence[rows] * sure).astype(np.float32),
    )


def to_labels(
    records: Records,
    *,
    against: str = "both",
    least: Grade = Grade.LIKED,
    unobserved: str = "never",
    level: int | None = None,
    train: Dataset | None = None,
    redrawn: GradeArray | None = None,
) -> Labels:
    """Return each candidate that is good (graded `least` or better) or rejected as `against` says."""
    good = records.candidates.grades >= least
    bad = ~_is_liked(records, train) & ~good & _is_rejected(records, against, unobserved, level)
    at = np.flatnonzero(good | bad)
    rows = records.candidates.rows[at]
    if redrawn is not None:
        sure = _label_again(redrawn, at, good[at], least)
    else:
        at_least, at_most = _agreement(records)
        sure = np.where(good[at], at_least[at], at_most[at])
    confidence = (records.confidence[rows] * sure).astype(np.float32)
    return Labels(rows, records.users[rows], at, records.candidates.items[at], good[at], confidence)


def to_lists(
    records: Records,
    *,
    most: int = 20,
    positives: str = "one",
    against: str = "both",
    least_gap: float = 1.0,
    by: str = "grade",
    least: Grade = Grade.LIKED,
    unobserved: str = "never",
    level: int | None = None,
    train: Dataset | None = None,
    seed: int = 0,
) -> Lists:
    """Return what was chosen over up to `most` rejected ones, drawn from the seed where there are more."""
    pairs = to_pairs(
        records,
        against=against,
        least_gap=least_gap,
        by=by,
        least=least,
        unobserved=unobserved,
        level=level,
        train=train,
    )
    return lists_of(pairs, most=most, positives=positives, seed=seed)


def lists_of(pairs: Pairs, *, most: int = 20, positives: str = "one", seed: int = 0) -> Lists:
    """Return pairs gathered to lists: of one chosen item each, or with positives='many' of all that a record has.

    Fewer than `most` are never filled up by repeating one, which would only shift the loss.
    """
    if most < 1:
        raise DataError(f"lists of at most {most} rejected items; they take at least 1")
    if positives not in ("one", "many"):
        raise DataError(f"positives {positives}: there are one and many")
    lead = pairs.chosen_at if positives == "one" else pairs.rows
    _, first, group = np.unique(lead, return_index=True, return_inverse=True)
    luck = mix(mix(key(seed, "lists"), pairs.rows), pairs.rejected)
    # One entry for each list and rejected item, that of the least gap.
    order = np.lexsort((pairs.gaps, pairs.rejected_at, luck, group))
    new = _new(group[order], pairs.rejected_at[order])
    kept = order[new]
    kept = kept[_rank(group[kept]) < most]
    one = np.lexsort((pairs.chosen_at, group))
    one = one[_new(group[one], pairs.chosen_at[one])]
    confidence = np.full(len(first), np.inf, dtype=np.float32)
    np.minimum.at(confidence, group, pairs.confidence)
    return Lists(
        pairs.rows[first],
        _table(group[one], pairs.chosen[one], len(first), EMPTY),
        _table(group[kept], pairs.rejected[kept], len(first), EMPTY),
        _table(group[kept], pairs.gaps[kept], len(first), 0.0),
        confidence,
    )


def to_groups(
    records: Records, *, rewards: Mapping[Grade, float] = REWARDS, unobserved: str = "never", most: int | None = None
) -> Groups:
    """Return each record's candidates with the rewards of their grades, the first `most` of them.

    What was never judged is left out, unless 'negative' counts candidates that were never shown as passed.
    A record whose rewards are all equal teaches nothing and gives no group.
    """
    _check_choice("unobserved", unobserved, UNOBSERVED)
    table = np.full(len(Grade), np.nan, dtype=np.float32)
    for grade, reward in rewards.items():
        if grade != Grade.UNSEEN:
            table[grade] = reward
    worth = table[records.candidates.grades]
    if unobserved == "negative":
        worth[_never_shown(records)] = table[Grade.PASSED]
    at = np.flatnonzero(~np.isnan(worth))
    at = at if most is None else at[_rank(records.candidates.rows[at]) < most]
    rows = records.candidates.rows[at]
    high, low = np.full(len(records), -np.inf), np.full(len(records), np.inf)
    np.maximum.at(high, rows, worth[at])
    np.minimum.at(low, rows, worth[at])
    at = at[(high > low)[rows]]
    kept, group = np.unique(records.candidates.rows[at], return_inverse=True)
    return Groups(
        kept,
        _table(group, records.candidates.items[at], len(kept), EMPTY),
        _table(group, worth[at], len(kept), np.nan),
    )


def to_sft(records: Records, *, least: Grade = Grade.LIKED) -> SFTRows:
    """Return each past with each item that was graded `least` or better after it."""
    at = np.flatnonzero(records.candidates.grades >= least)
    rows = records.candidates.rows[at]
    return SFTRows(rows, records.candidates.items[at], records.confidence[rows])


def some(rows: Rows, kept: BoolArray | IntArray) -> Rows:
    """Return these of the pairs or labels."""
    return type(rows)(**{name: getattr(rows, name)[kept] for name in rows.__dataclass_fields__})


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in choices:
        raise DataError(f"{name} {value}: there are {', '.join(choices)}")


def _never_shown(records: Records) -> BoolArray:
    return (records.candidates.grades == Grade.UNSEEN) & (records.positions == NONE)


def _is_rejected(records: Records, against: str, unobserved: str, level: int | None) -> BoolArray:
    _check_choice("against", against, AGAINST)
    _check_choice("unobserved", unobserved, UNOBSERVED)
    rejected = np.isin(records.candidates.grades, AGAINST[against])
    if unobserved == "negative":
        rejected |= _never_shown(records)
    return rejected if level is None else rejected & (records.levels == level)


def _is_liked(records: Records, train: Dataset | None) -> BoolArray:
    """Tell which candidates their user liked anywhere: in a record, its history, or the training rows."""
    graded = [(records.candidate_users, records.candidates.items, records.candidates.grades)]
    past = records.history
    graded.append((records.users[past.rows], past.items, past.grades))
    if train is not None:
        log = train.interactions
        graded.append((log.users, log.items, grades_of(log.ratings)))
    liked = [pair_keys(users, items)[grades == Grade.LIKED] for users, items, grades in graded]
    return np.isin(pair_keys(records.candidate_users, records.candidates.items), np.concatenate(liked))


def _agreement(records: Records) -> tuple[FloatArray, FloatArray]:
    """Return for each candidate the share of its user's other judgements of it that are no worse, and no better.

    NaN where there is no other: one judgement does not tell how often it would be given again.
    """
    grades = records.candidates.grades
    _, group = np.unique(pair_keys(records.candidate_users, records.candidates.items), return_inverse=True)
    width = len(Grade)
    counts = np.bincount(group * width + grades, minlength=(int(group.max(initial=-1)) + 1) * width)
    counts = counts.reshape(-1, width)
    counts[:, Grade.UNSEEN] = 0  # no judgement
    up_to = np.cumsum(counts, axis=1)
    worse = up_to[group, np.maximum(grades - 1, 0)]
    is_judged = grades != Grade.UNSEEN
    others = up_to[group, -1] - is_judged
    at_least, at_most = (
        np.divide(count - is_judged, others, out=np.full(len(grades), np.nan), where=others > 0)
        for count in (up_to[group, -1] - worse, up_to[group, grades])
    )
    unjudged = ~is_judged  # was never shown: what is told of it cannot be otherwise
    return np.where(unjudged, 1.0, at_least), np.where(unjudged, 1.0, at_most)


def _chance_again(redrawn: GradeArray, one: IntArray, other: IntArray) -> FloatArray:
    """Return how often one candidate is graded above the other, of the draws in which both are seen and differ."""
    holds, differs = (np.zeros(len(one)) for _ in range(2))
    for grades in redrawn:
        first, second = grades[one], grades[other]
        seen = (first != Grade.UNSEEN) & (second != Grade.UNSEEN)
        holds += seen & (first > second)
        differs += seen & (first != second)
    return _smoothed(holds, differs)


def _label_again(redrawn: GradeArray, at: IntArray, good: BoolArray, least: Grade) -> FloatArray:
    """Return how often a candidate is on the same side of `least`, of the draws in which it is seen."""
    grades = redrawn[:, at]
    seen = grades != Grade.UNSEEN
    holds = (((grades >= least) == good) & seen).sum(axis=0).astype(np.float64)
    found = np.empty(len(at))
    for side in (True, False):
        found[good == side] = _smoothed(holds[good == side], seen.sum(axis=0)[good == side].astype(np.float64))
    return found


def _smoothed(holds: FloatArray, counts: FloatArray) -> FloatArray:
    """Return shares, each drawn towards that of all as if by two more draws: few draws tell little."""
    total = counts.sum()
    prior = holds.sum() / total if total else np.nan
    return (holds + 2 * prior) / (counts + 2)


def _crossed(records: Records, better: BoolArray, worse: BoolArray) -> tuple[IntArray, IntArray]:
    """Return every candidate that is better beside every one of the same record that is worse."""
    ones, others = np.flatnonzero(better), np.flatnonzero(worse)
    starts = begins(np.bincount(records.candidates.rows[others], minlength=len(records)))
    rows = records.candidates.rows[ones]
    counts = np.diff(starts)[rows]
    return np.repeat(ones, counts), others[spread(starts[rows], counts)]


def _new(*columns: IntArray) -> BoolArray:
    """Tell which rows differ from the one before."""
    new = np.ones(len(columns[0]), dtype=bool)
    new[1:] = False
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


def _rank(groups: IntArray) -> IntArray:
    """Return each row's place in its group, from 0; the groups lie together."""
    first = np.flatnonzero(_new(groups))
    return np.arange(len(groups)) - np.repeat(first, np.diff(np.append(first, len(groups))))


def _table(groups: IntArray, values: Any, count: int, fill: float) -> Any:
    """Return the values of each group as a row, filled up to the longest."""
    rank = _rank(groups)
    table = np.full((count, int(rank.max(initial=0)) + 1), fill, dtype=values.dtype)
    table[groups, rank] = values
    return table
