"""The event log gives back what was written, in one order, however it was cut into parts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simenv.arrays import IntArray
from simenv.dataset import Dataset, Users
from simenv.errors import RunError, SimenvError
from simenv.eventlog import EventLog
from simenv.films import films_world
from simenv.pages import EMPTY, Grade, Page, Reaction, Turn

COUNT = 8  # users


def dataset(ids: Sequence[object] | None = None) -> Dataset:
    whole = films_world(users=COUNT, items=30).dataset
    if ids is None:
        return whole
    kind = object if isinstance(ids[0], str) else np.int64
    return replace(whole, users=Users(np.array(ids, dtype=kind)))


def session(users: Sequence[int], propensity: float | None = None) -> list[Turn]:
    """Return two pages of three places; user u is shown items from 3u on, and 1 leaves after the first."""
    turns = []
    here = np.array(users)
    for number in range(2):
        items = 3 * here[:, None] + np.arange(3) + 3 * number
        items[:, 2] = EMPTY if number else items[:, 2]
        grades = np.tile([Grade.LIKED, Grade.DISLIKED, Grade.UNSEEN], (len(here), 1)).astype(np.int8)
        exits = here == 1
        reaction = Reaction(
            grades,
            np.where(grades == Grade.LIKED, 4.5, np.nan),
            5.0 + here / 10 + number,
            exits,
            np.where(exits, "bored", "").astype(object),
            words=[f"user {user} on page {number}" for user in here],
        )
        chances = None if propensity is None else np.full(items.shape, propensity)
        page = Page(here, np.arange(len(here)), np.full(len(here), number), items, chances)
        turns.append(Turn(page, reaction, np.zeros(items.shape, bool), ~exits & (number == 1)))
        here = here[~exits]
        if not len(here):
            break
    return turns


def rows(table: pa.Table, *columns: str) -> list[tuple]:
    return list(zip(*(table[column].to_pylist() for column in columns), strict=True))


def test_what_is_written_is_read(tmp_path: Path):
    log = EventLog(tmp_path)

    log.write("pop", 3, dataset(), session([0], propensity=0.25))

    assert rows(
        log.events(), "policy", "seed", "user_id", "page", "rank", "item_id", "grade", "rating", "propensity"
    ) == [
        ("pop", 3, 1, 0, 0, 1, "liked", 4.5, 0.25),
        ("pop", 3, 1, 0, 1, 2, "disliked", None, 0.25),
        ("pop", 3, 1, 0, 2, 3, "unseen", None, 0.25),
        ("pop", 3, 1, 1, 0, 4, "liked", 4.5, 0.25),
        ("pop", 3, 1, 1, 1, 5, "disliked", None, 0.25),
    ]
    assert rows(log.pages(), "policy", "seed", "user_id", "page", "satisfaction", "exit", "exit_cause", "words") == [
        ("pop", 3, 1, 0, 5.0, False, None, "user 0 on page 0"),
        ("pop", 3, 1, 1, 6.0, False, None, "user 0 on page 1"),
    ]


def test_who_left_and_why_is_read(tmp_path: Path):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([1]))
    assert rows(log.pages(), "page", "exit", "exit_cause") == [(0, True, "bored")]


def test_propensities_are_null_where_the_policy_has_none(tmp_path: Path):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([0]))
    log.write("random", 0, dataset(), session([0], propensity=0.5))
    told = set(rows(log.events(), "policy", "propensity"))
    assert told == {("pop", None), ("random", 0.5)}


@pytest.mark.parametrize("ids", [None, list("hgfedcba"), [-3, 7, 2**61, 5, 2**62, 11, 0, 2**40]])
def test_rows_stand_by_policy_seed_user_page_and_rank(tmp_path: Path, ids: list | None):
    log, data = EventLog(tmp_path), dataset(ids)
    for policy in ("b", "a"):
        for seed in (2**31 - 1, 0):
            for users in ([3, 4, 5], [7, 6], [2, 0, 1]):
                log.write(policy, seed, data, session(users))

    for table, order in (
        (log.events(), ("policy", "seed", "user_id", "page", "rank")),
        (log.pages(), ("policy", "seed", "user_id", "page")),
    ):
        found = rows(table, *order)
        assert found == sorted(found)
        assert len(set(found)) == len(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    cuts=st.permutations(range(COUNT)).flatmap(
        lambda order: st.sets(st.integers(1, COUNT - 1)).map(
            lambda places: [part.tolist() for part in np.split(np.array(order), sorted(places))]
        )
    ),
    named=st.booleans(),
)
def test_any_way_of_cutting_users_into_parts_gives_one_table(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[list[int]], named: bool
):
    data = dataset(list("hgfedcba") if named else None)
    whole, parts = (EventLog(tmp_path_factory.mktemp("log")) for _ in range(2))
    whole.write("pop", 0, data, session(range(COUNT)))
    for users in cuts:
        parts.write("pop", 0, data, session(users))

    assert parts.events().to_pylist() == whole.events().to_pylist()
    assert parts.pages().to_pylist() == whole.pages().to_pylist()
    assert parts.finished("pop", 0) == whole.finished("pop", 0)


def test_the_finished_are_those_of_this_policy_and_seed(tmp_path: Path):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([0, 1]))
    log.write("pop", 1, dataset(), session([2]))
    log.write("pop-0", 7, dataset(), session([3]))  # whose file begins like those of pop and seed 0

    assert log.finished("pop", 0) == {1, 2}
    assert log.finished("pop", 1) == {3}
    assert log.finished("pop-0", 7) == {4}
    assert log.finished("ease", 0) == set()


def test_events_without_their_pages_do_not_count(tmp_path: Path):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([0]))
    log.write("pop", 0, dataset(), session([5]))
    (tmp_path / "pages" / "part-pop-0-5.parquet").unlink()

    assert log.finished("pop", 0) == {1}
    assert set(log.events()["user_id"].to_pylist()) == {1}


def test_half_written_files_do_not_count(tmp_path: Path):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([0]))
    for kind in ("events", "pages"):
        (tmp_path / kind / ".part-pop-0-5.parquet.unfinished").write_bytes(b"PAR1 and no")

    assert log.finished("pop", 0) == {1}
    assert len(log.pages()) == 2


def test_what_was_half_done_is_written_over(tmp_path: Path):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([5, 6]))
    (tmp_path / "pages" / "part-pop-0-5.parquet").unlink()
    log.write("pop", 0, dataset(), session([5]))
    log.write("pop", 0, dataset(), session([6]))

    assert len(log.events()) == 10
    assert log.finished("pop", 0) == {6, 7}


@pytest.mark.parametrize("kind", ["events", "pages"])
@pytest.mark.parametrize("rest", [b"", b"PAR1", None])
def test_a_damaged_part_is_told_with_its_folder(tmp_path: Path, kind: str, rest: bytes | None):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([0]))
    part = tmp_path / kind / "part-pop-0-0.parquet"
    part.write_bytes(part.read_bytes()[:-20] if rest is None else rest)

    with pytest.raises(RunError, match=str(tmp_path)):
        getattr(log, kind)()


def test_a_damaged_part_is_told_when_a_run_is_resumed(tmp_path: Path):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([0]))
    (tmp_path / "pages" / "part-pop-0-0.parquet").write_bytes(b"PAR1")

    with pytest.raises(RunError, match=str(tmp_path)):
        log.finished("pop", 0)


def test_pages_without_their_events_are_told(tmp_path: Path):
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), session([0]))
    (tmp_path / "events" / "part-pop-0-0.parquet").unlink()

    with pytest.raises(RunError, match=str(tmp_path)):
        log.events()


def test_a_log_without_sessions_says_so(tmp_path: Path):
    with pytest.raises(RunError, match="no finished sessions"):
        EventLog(tmp_path).events()


@pytest.mark.parametrize("name", ["../pop", "a b", "", ".hidden", "a/b"])
def test_a_policys_name_must_do_for_a_file(tmp_path: Path, name: str):
    with pytest.raises(SimenvError, match="it names files"):
        EventLog(tmp_path).write(name, 0, dataset(), session([0]))
    assert not list(tmp_path.iterdir())


def test_no_turns_are_no_part(tmp_path: Path):
    EventLog(tmp_path).write("pop", 0, dataset(), [])
    assert not list(tmp_path.iterdir())


def seats(turn: Turn, order: IntArray) -> Turn:
    """Return the turn with its users in another order."""
    page, reaction = turn.page, turn.reaction
    return Turn(
        Page(page.users[order], page.seats[order], page.number[order], page.items[order]),
        Reaction(
            reaction.grades[order],
            reaction.ratings[order],
            reaction.satisfaction[order],
            reaction.exits[order],
            reaction.causes[order],
            words=[reaction.words[row] for row in order],
        ),
        turn.repeated[order],
        turn.truncated[order],
    )


def test_words_stay_with_their_user(tmp_path: Path):
    backwards = [seats(turn, np.arange(len(turn.page.users))[::-1]) for turn in session([0, 2, 4])]
    log = EventLog(tmp_path)
    log.write("pop", 0, dataset(), backwards)

    assert rows(log.pages(), "user_id", "page", "words") == [
        (user + 1, page, f"user {user} on page {page}") for user in (0, 2, 4) for page in (0, 1)
    ]
