"""Every figure follows from the log: held against sums done by hand, and against plain loops."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow as pa
import pytest

from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.eventlog import EventLog
from simenv.interactions import Interactions
from simenv.metrics import HEADLINE, METRICS, gini, measure, metric_of, offline_metrics, session_table
from simenv.pages import EMPTY, Grade, Page, Reaction, Turn
from simenv.ranking import ranking_table
from simenv.recommenders.pop import Pop
from simenv.rundir import RunDir
from simenv.splits import Split

A, B, C, D = range(4)  # A is x, B is x and y, C is y, and D is nothing
CATEGORIES = (("x",), ("x", "y"), ("y",), ())
HISTORIES = [[A, B], [A], [A, C]]  # so A was met by three, B and C by one, D by nobody


def dataset() -> Dataset:
    nothing = np.full(4, None, dtype=object)
    catalog = Catalog(np.arange(10, 14), nothing, CATEGORIES, nothing, np.full(4, np.nan))
    users = np.repeat(np.arange(3), [len(mine) for mine in HISTORIES])
    log, _ = Interactions.sort(users, np.concatenate(HISTORIES))
    return Dataset("by hand", catalog, Users(np.array([7, 8, 9])), log)


def turn(
    user: int, number: int, items: Sequence[int], grades: Sequence[Grade], ratings: Sequence[float], satisfaction: float
) -> Turn:
    page = Page(np.array([user]), np.zeros(1, int), np.array([number]), np.array([items]))
    reaction = Reaction(
        np.array([grades], dtype=np.int8),
        np.array([ratings]),
        np.array([satisfaction]),
        np.zeros(1, bool),
        np.array([""], dtype=object),
    )
    return Turn(page, reaction, np.zeros((1, len(items)), bool), np.zeros(1, bool))


NONE = math.nan
BY_HAND = [
    turn(0, 0, [C, D], [Grade.LIKED, Grade.PASSED], [5, NONE], 8),
    turn(0, 1, [B, EMPTY], [Grade.DISLIKED, Grade.UNSEEN], [1, NONE], 4),
    turn(1, 0, [B, C], [Grade.UNSEEN, Grade.VIEWED], [NONE, 3], 6),
]


@pytest.fixture
def by_hand(tmp_path: Path) -> RunDir:
    """Two users before a policy; the first saw two pages, the second one."""
    run = RunDir(tmp_path)
    EventLog(tmp_path).write("p", 0, dataset(), BY_HAND)
    run.write_world(dataset())
    return run


# The first user watched C and B, for a rating tells that he did; the second watched C.
WANTED = {
    "P_view": (2 / 3 + 1 / 2) / 2,
    "N_like": (1 + 0) / 2,
    "P_like": (1 / 3 + 0) / 2,
    "N_exit": (2 + 1) / 2,
    "S_sat": ((8 + 4) / 2 + 6) / 2,
    "coverage": 3 / 4,
    "gini": (0 * -3 + 1 * -1 + 2 * 1 + 2 * 3) / (4 * 5),  # A never, D once, B and C twice
    "popularity_lift": ((2 / 3) / 2 - 1 + 1 / 3 - 1) / 2,  # histories of 2 and 3 a film, pages of 2/3 and 1
    "novelty": ((2 * math.log2(9 / 2) + math.log2(9)) / 3 + math.log2(9 / 2))
    / 2,  # each count and total plus 1 an item
    "diversity": 1 - 1 / math.sqrt(2),  # the second user's page alone has two items with categories
    "calibration": (
        0.75 * math.log2(0.75 / (0.99 * 0.25 + 0.01 * 0.75))
        + 0.25 * math.log2(0.25 / (0.99 * 0.75 + 0.01 * 0.25))
        + math.log2(1 / (0.99 * 0.25 + 0.01))
    )
    / 2,
}


@pytest.mark.parametrize("metric", METRICS)
def test_a_small_log_measures_as_by_hand(by_hand: RunDir, metric: str):
    found = measure(by_hand)[0]["p"][metric]

    assert found["mean"] == pytest.approx(WANTED[metric])
    assert found["n"] == (1 if metric == "diversity" else 2)


def test_the_headline_is_the_five():
    assert HEADLINE == ["P_view", "N_like", "P_like", "N_exit", "S_sat"]


def test_a_dislike_without_a_rating_was_not_watched(tmp_path: Path):
    run = RunDir(tmp_path)
    EventLog(tmp_path).write("p", 0, dataset(), [turn(0, 0, [C, D], [Grade.DISLIKED] * 2, [NONE, 2], 5)])
    run.write_world(dataset())
    assert measure(run)[0]["p"]["P_view"]["mean"] == 0.5


def test_a_page_without_items_is_a_page(tmp_path: Path):
    empty = turn(0, 1, [EMPTY, EMPTY], [Grade.UNSEEN] * 2, [NONE, NONE], 2)
    run = RunDir(tmp_path)
    EventLog(tmp_path).write("p", 0, dataset(), [BY_HAND[0], empty])
    run.write_world(dataset())
    found = measure(run)[0]["p"]
    assert found["N_exit"]["mean"] == 2
    assert found["S_sat"]["mean"] == 5
    assert found["P_like"]["mean"] == 0.5


def test_a_catalogue_without_categories_has_neither_diversity_nor_calibration(tmp_path: Path):
    whole = dataset()
    bare = Dataset(
        "bare",
        Catalog(whole.catalog.ids, whole.catalog.titles, ((),) * 4, whole.catalog.descriptions, whole.catalog.years),
        whole.users,
        whole.interactions,
    )
    run = RunDir(tmp_path)
    EventLog(tmp_path).write("p", 0, bare, BY_HAND)
    run.write_world(bare)
    found = measure(run)[0]["p"]
    assert found["diversity"] == found["calibration"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert found["N_like"]["mean"] == 0.5


def test_policies_are_compared_on_the_users_they_share(tmp_path: Path):
    run = RunDir(tmp_path)
    log = EventLog(tmp_path)
    log.write("one", 0, dataset(), BY_HAND)
    log.write("other", 0, dataset(), BY_HAND[:2])
    run.write_world(dataset())
    rows = {row["metric"]: row for row in measure(run)[1]}

    assert set(rows) == {*HEADLINE, "calibration"}
    assert rows["N_like"]["n"] == 1
    assert rows["N_like"]["difference"] == 0


def sessions_of(run: RunDir, policy: str) -> dict[int, list[tuple[list[dict], list[dict]]]]:
    """Return for each user the events and pages of each of his sessions."""
    found: dict[int, dict[int, tuple[list, list]]] = {}
    for place, table in enumerate((run.events, run.pages)):
        for row in table.to_pylist():
            if row["policy"] == policy:
                found.setdefault(row["user_id"], {}).setdefault(row["seed"], ([], []))[place].append(row)
    return {user: list(by_seed.values()) for user, by_seed in found.items()}


def watched(event: dict) -> bool:
    return event["grade"] in ("viewed", "liked") or (event["grade"] == "disliked" and event["rating"] is not None)


def liked(event: dict) -> bool:
    return event["grade"] == "liked"


PLAIN = {
    "P_view": lambda events, _: fmean(map(watched, events)),
    "N_like": lambda events, _: sum(map(liked, events)),
    "P_like": lambda events, _: fmean(map(liked, events)),
    "N_exit": lambda _, pages: 1 + max(page["page"] for page in pages),
    "S_sat": lambda _, pages: fmean(page["satisfaction"] for page in pages),
}


@pytest.mark.parametrize("policy", ["random", "pop", "item-knn"])
@pytest.mark.parametrize("metric", PLAIN)
def test_a_runs_figures_are_those_of_plain_loops(finished: RunDir, policy: str, metric: str):
    users = sessions_of(finished, policy).values()
    wanted = fmean(fmean(PLAIN[metric](*session) for session in sessions) for sessions in users)

    found = finished.read_json("metrics.json")[policy][metric]

    assert found["mean"] == pytest.approx(wanted)
    assert found["low"] < wanted < found["high"]
    assert found["n"] == len(users) == 40


@pytest.mark.parametrize("policy", ["random", "pop", "item-knn"])
def test_a_runs_exposure_is_that_of_plain_loops(finished: RunDir, policy: str):
    counts = dict.fromkeys(finished.items["item_id"].to_pylist(), 0)
    for row in finished.events.to_pylist():
        if row["policy"] == policy:
            counts[row["item_id"]] += 1
    gaps = fmean(abs(one - other) for one in counts.values() for other in counts.values())
    found = finished.read_json("metrics.json")[policy]

    assert found["coverage"]["mean"] == pytest.approx(fmean(count > 0 for count in counts.values()))
    assert found["gini"]["mean"] == pytest.approx(gaps / (2 * fmean(counts.values())))


@pytest.mark.parametrize("metric", HEADLINE)
def test_a_comparison_is_the_mean_difference_over_users(finished: RunDir, metric: str):
    for row in finished.read_json("comparisons.json"):
        if row["metric"] == metric:
            one, other = (sessions_of(finished, row[side]) for side in ("policy", "against"))
            gaps = [
                fmean(PLAIN[metric](*session) for session in one[user])
                - fmean(PLAIN[metric](*session) for session in other[user])
                for user in one
            ]
            assert row["difference"] == pytest.approx(fmean(gaps), abs=1e-9)
            assert row["low"] <= row["difference"] <= row["high"]
            assert 0 < row["p"] <= row["p_holm"] <= 1


def test_every_pair_is_compared_once(finished: RunDir):
    rows = [row for row in finished.read_json("comparisons.json") if row["metric"] == "N_like"]
    assert len({frozenset((row["policy"], row["against"])) for row in rows}) == len(rows) == 3


def test_the_session_table_has_a_row_for_each_user_and_policy(finished: RunDir):
    table = session_table(finished)
    assert len(table) == 3 * 40
    for row in table.to_pylist()[::17]:
        sessions = sessions_of(finished, row["policy"])[row["user_id"]]
        for metric in HEADLINE:
            assert row[metric] == pytest.approx(fmean(PLAIN[metric](*session) for session in sessions))


@pytest.mark.parametrize(
    ("exposure", "wanted"),
    [([1, 1, 1, 1], 0), ([0, 0, 0, 9], 3 / 4), ([1, 3], 1 / 4), ([0, 0], 0), ([5], 0)],
)
def test_gini_tells_how_unequal(exposure: list[int], wanted: float):
    assert gini(np.array([exposure], dtype=float))[0] == pytest.approx(wanted)


def offline(lists: dict[int, tuple[list[bool], int]]) -> dict[str, float]:
    """Return the offline metrics of users who have this many held-out items, found or not at each rank."""
    rows = [
        {"user_id": user, "rank": rank, "item_id": rank, "relevant": hit, "relevant_count": count}
        for user, (hits, count) in lists.items()
        for rank, hit in enumerate(hits)
    ]
    return {name: interval.mean for name, interval in offline_metrics(pa.Table.from_pylist(rows)).items()}


def test_one_held_out_item_at_the_second_of_three_ranks():
    assert offline({1: ([False, True, False], 1)}) == {
        "recall@3": 1,
        "ndcg@3": pytest.approx(1 / math.log2(3)),
        "hit@3": 1,
        "mrr@3": 0.5,
    }


def test_two_of_three_held_out_items_found():
    assert offline({1: ([True, False, True], 3)}) == {
        "recall@3": pytest.approx(2 / 3),
        "ndcg@3": pytest.approx((1 + 1 / 2) / (1 + 1 / math.log2(3) + 1 / 2)),
        "hit@3": 1,
        "mrr@3": 1,
    }


def test_more_held_out_items_than_ranks_can_still_be_a_perfect_gain():
    assert offline({1: ([True, True], 5)}) == {
        "recall@2": pytest.approx(2 / 5),
        "ndcg@2": pytest.approx(1),
        "hit@2": 1,
        "mrr@2": 1,
    }


def test_users_count_alike_offline():
    assert offline({1: ([True, False], 1), 2: ([False, False], 1)}) == {
        "recall@2": 0.5,
        "ndcg@2": 0.5,
        "hit@2": 0.5,
        "mrr@2": 0.5,
    }


def test_every_metric_can_be_looked_up_by_its_name():
    assert metric_of("N_like").unit == "items"
    assert "first 20" in metric_of("recall@20").definition


def test_the_ranking_marks_what_was_held_out(split: Split):
    policy = Pop()
    policy.fit(split.train)
    users = np.array([0, 3, 5], dtype=np.int32)

    table = ranking_table(split, policy, users, 50).to_pylist()

    train, test = split.train, split.test
    for user in users:
        rows = [row for row in table if row["user_id"] == train.users.ids[user]]
        past = set(train.catalog.ids[train.interactions.items[train.interactions.users == user]])
        held_out = set(train.catalog.ids[test.items[test.users == user]])
        items = [row["item_id"] for row in rows]
        assert [row["rank"] for row in rows] == list(range(len(rows)))
        assert not past & set(items)
        assert {row["item_id"] for row in rows if row["relevant"]} == held_out & set(items)
        assert {row["relevant_count"] for row in rows} == {len(held_out)}


def test_whoever_has_nothing_held_out_is_not_ranked(split: Split):
    without = Split(split.train, split.valid, split.test[split.test.users != 3], split.protocol)
    policy = Pop()
    policy.fit(split.train)
    table = ranking_table(without, policy, np.array([3, 4], dtype=np.int32), 5)
    assert set(table["user_id"].to_pylist()) == {split.train.users.ids[4]}


def test_a_full_ranking_finds_everything(split: Split):
    policy = Pop()
    policy.fit(split.train)
    table = ranking_table(split, policy, np.arange(40, dtype=np.int32), 80)
    found = {name: interval.mean for name, interval in offline_metrics(table).items()}
    assert found[next(name for name in found if name.startswith("recall"))] == 1
