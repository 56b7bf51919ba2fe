"""Whatever the records: what is learnt from them never says that a user dislikes what they liked or never saw."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simenv.films import films_world
from simenv.pages import EMPTY, Grade
from simenv.preferences.choosing import is_among, is_balanced, is_first
from simenv.preferences.converting import some, to_groups, to_labels, to_lists, to_pairs, to_sft
from simenv.preferences.leaks import guard, held_out_keys, leaks_of
from simenv.preferences.logged import logged
from simenv.preferences.records import NONE, Graded, Records, begins, concat, make_records, pair_keys
from simenv.preferences.selfplay import self_play
from simenv.splits import leave_one_out

WORLD = films_world(users=12, items=40).dataset
SPLIT = leave_one_out(WORLD)
ITEMS, USERS = len(WORLD.catalog), len(WORLD.users)
JUDGED = [grade for grade in Grade if grade != Grade.UNSEEN]


@st.composite
def records(draw: st.DrawFn, grades: list[Grade] = list(Grade), equal: bool = False) -> Records:  # noqa: B006
    """Return records of a few users on a few items, shown or not."""
    users, past, offered, given_grades = [], [], [], []
    for _ in range(draw(st.integers(1, 8))):
        users.append(draw(st.integers(0, 3)))
        past.append(draw(st.lists(st.integers(0, 11), max_size=4)))
        offered.append(draw(st.lists(st.integers(0, 11), max_size=6, unique=True)))
        one = draw(st.sampled_from(grades))
        given_grades.append([one if equal else draw(st.sampled_from(grades)) for _ in offered[-1]])
    items, graded = _flat(offered), np.array(_flat(given_grades), dtype=np.int8)
    shown = [draw(st.sampled_from([NONE, 0, 3])) for _ in items]
    ratings = np.where(graded >= Grade.VIEWED, graded + 1.0, np.where(graded == Grade.DISLIKED, 2.0, np.nan))
    return make_records(
        np.array(users),
        _graded([len(row) for row in past], _flat(past), np.full(len(_flat(past)), Grade.VIEWED, np.int8)),
        _graded([len(row) for row in offered], items, graded, ratings),
        "simulated",
        positions=np.array(shown, dtype=np.int32),
    )


def _flat(rows):
    return [one for row in rows for one in row]


def _graded(counts, items, grades, ratings=None):
    ratings = np.full(len(items), np.nan) if ratings is None else ratings
    return Graded(begins(np.array(counts)), np.array(items, dtype=np.int32), grades, ratings.astype(np.float32))


def liked(found: Records) -> set[tuple[int, int]]:
    is_liked = found.candidates.grades == Grade.LIKED
    return set(zip(found.candidate_users[is_liked].tolist(), found.candidates.items[is_liked].tolist(), strict=True))


@given(records(), st.sampled_from(["grade", "rating"]), st.sampled_from(["never", "negative"]))
def test_what_a_user_liked_is_never_rejected(found: Records, by: str, unobserved: str):
    pairs = to_pairs(found, by=by, unobserved=unobserved)
    rejected = set(zip(pairs.users.tolist(), pairs.rejected.tolist(), strict=True))
    assert not rejected & liked(found)
    lists = to_lists(found, by=by, unobserved=unobserved, positives="many")
    for row in range(len(lists)):
        assert not set(lists.chosen[row].tolist()) & set(lists.rejected[row].tolist()) - {EMPTY}
    labels = to_labels(found, unobserved=unobserved)
    bad = set(zip(labels.users[~labels.good].tolist(), labels.items[~labels.good].tolist(), strict=True))
    assert not bad & liked(found)


@given(records(), st.sampled_from(["grade", "rating"]))
def test_what_was_not_looked_at_is_never_rejected_nor_rewarded(found: Records, by: str):
    pairs = to_pairs(found, by=by)
    assert (found.candidates.grades[pairs.rejected_at] != Grade.UNSEEN).all()
    labels = to_labels(found)
    assert (found.candidates.grades[labels.at] != Grade.UNSEEN).all()
    groups = to_groups(found)
    judged = pair_keys(found.candidates.rows, found.candidates.items)[found.candidates.grades != Grade.UNSEEN]
    rows = np.broadcast_to(groups.rows[:, None], groups.candidates.shape)
    there = groups.candidates != EMPTY
    assert np.isin(pair_keys(rows[there], groups.candidates[there]), judged).all()


@given(records())
def test_even_when_asked_for_only_what_was_never_shown_is_a_negative(found: Records):
    pairs = to_pairs(found, unobserved="negative")
    unseen = found.candidates.grades[pairs.rejected_at] == Grade.UNSEEN
    assert (found.positions[pairs.rejected_at[unseen]] == NONE).all()


@given(records(grades=JUDGED, equal=True))
def test_grades_that_are_all_equal_give_no_pair_and_no_group(found: Records):
    assert not len(to_pairs(found, least=Grade.DISLIKED))
    assert not len(to_groups(found))


@given(records())
def test_conversion_is_deterministic_and_says_the_same_of_records_in_any_order(found: Records):
    def told(one: Records) -> list[tuple]:
        pairs = to_pairs(one)
        pairs = some(pairs, is_first(pairs))
        pairs = some(pairs, is_among(pairs, 2, seed=3))
        pairs = some(pairs, is_balanced(pairs, SPLIT.train, ["popularity"], seed=3))
        columns = (pairs.users, pairs.chosen, pairs.rejected, pairs.gaps, np.nan_to_num(pairs.confidence, nan=-1))
        return sorted(zip(*(column.tolist() for column in columns), strict=True))

    assert told(found) == told(found.take(np.arange(len(found))[::-1]))
    lists, again = to_lists(found, most=2), to_lists(found, most=2)
    assert (lists.rejected == again.rejected).all()


@given(records())
def test_gaps_and_lists_are_those_of_the_grades(found: Records):
    pairs = to_pairs(found)
    grades = found.candidates.grades.astype(int)
    assert (pairs.gaps == grades[pairs.chosen_at] - grades[pairs.rejected_at]).all()
    assert (found.candidates.rows[pairs.chosen_at] == found.candidates.rows[pairs.rejected_at]).all()
    lists = to_lists(found, most=99)
    assert (lists.rejected != EMPTY).sum() == len(pairs)
    for row in lists.rejected.tolist():
        there = [item for item in row if item != EMPTY]
        assert len(set(there)) == len(there), "nothing is repeated to fill a list"


@given(records(), st.integers(1, 3))
def test_chosen_and_rejected_are_balanced_exactly_by_steps(found: Records, most: int):
    pairs = to_pairs(found)
    pairs = some(pairs, is_among(pairs, most))
    assert np.bincount(pairs.users).max(initial=0) <= most
    kept = some(pairs, is_balanced(pairs, SPLIT.train, ["popularity"]))
    step = np.log2(SPLIT.train.popularity + 1).astype(int)
    assert sorted(step[kept.chosen].tolist()) == sorted(step[kept.rejected].tolist())
    labels = to_labels(found)
    labels = some(labels, is_balanced(labels, SPLIT.train, ["popularity", "length"]))
    assert sorted(step[labels.items[labels.good]].tolist()) == sorted(step[labels.items[~labels.good]].tolist())


@given(records())
def test_held_out_rows_reach_no_record_that_was_guarded(found: Records):
    kept = guard(found, SPLIT, "drop")
    held_out = held_out_keys(SPLIT)
    assert not len(leaks_of(kept, SPLIT))
    assert not np.isin(pair_keys(kept.candidate_users, kept.candidates.items), held_out).any()
    assert not np.isin(pair_keys(kept.users[kept.history.rows], kept.history.items), held_out).any()
    assert len(kept) == len(found)


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 99))
def test_held_out_rows_reach_no_logged_record(lower: int, unobserved: int, seed: int):
    found = logged(SPLIT, lower=lower, unobserved=unobserved, seed=seed)
    assert not len(leaks_of(found, SPLIT))
    for row in range(0, len(found), 17):
        record = found[row]
        offered = [item for item, _, _ in record.candidates]
        assert len(set(offered)) == len(offered)
        assert not {item for item, _, _ in record.history} & set(offered)
        assert [grade for _, grade, _ in record.candidates].count(Grade.LIKED) == 1


@given(st.integers(0, 10_000))
def test_self_play_offers_no_liked_item_beside_the_true_one(seed: int):
    chance = np.random.default_rng(seed)
    users = np.arange(USERS)
    log = SPLIT.train.interactions
    targets = log.items[SPLIT.train.starts[1:] - 1]
    beams = chance.integers(-1, ITEMS, (USERS, 8))
    found = self_play(users, _graded([0] * USERS, [], np.zeros(0, np.int8)), targets, beams, CODES, SPLIT.train)
    first = found.candidates.starts[:-1]
    assert (found.candidates.items[first] == targets).all()
    assert (found.candidates.grades == Grade.LIKED).sum() == USERS
    rest = np.delete(np.arange(len(found.candidates.items)), first)
    assert (found.levels[first] == NONE).all()
    assert (found.levels[rest] >= 0).all()
    keys = pair_keys(found.candidate_users, found.candidates.items)
    assert len(set(keys.tolist())) == len(keys)


CODES = np.stack([np.arange(ITEMS) // 20, np.arange(ITEMS) // 5 % 4, np.arange(ITEMS) % 5], axis=1)


@given(records(), records())
def test_records_put_together_are_those_that_were_there(one: Records, other: Records):
    both = concat([one, other])
    for row in range(len(one)):
        assert str(both[row]) == str(one[row])
    for row in range(len(other)):
        assert str(both[len(one) + row]) == str(other[row])
    back = both.take(np.arange(len(both)) >= len(one))
    assert [str(back[row]) for row in range(len(back))] == [str(other[row]) for row in range(len(other))]


@given(records())
def test_sft_rows_are_all_that_was_liked(found: Records):
    rows = to_sft(found)
    assert set(zip(found.users[rows.rows].tolist(), rows.items.tolist(), strict=True)) == liked(found)
