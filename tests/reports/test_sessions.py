"""The session viewer shows what the log holds of some sessions, in the room it has."""

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from simenv.reports.report import report
from simenv.reports.sessions import MOST_USERS, ROOM, Viewer, viewer
from simenv.reports.standings import standings
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]
EVIL = "<script>alert('x')</script>"


def seen(run: RunDir) -> Viewer:
    found = viewer(run, standings(run))
    assert found is not None
    return found


def with_columns(run: RunDir, **columns: Any) -> RunDir:
    """Return the run with these values on every page."""
    for path in (run.folder / "pages").iterdir():
        table = pq.read_table(path)
        for name, value in columns.items():
            table = table.drop_columns(name) if name in table.column_names else table
            table = table.append_column(name, pa.array([value] * len(table)))
        pq.write_table(table, path)
    return RunDir.open(run.folder)


def test_pages_items_and_deeds_are_those_of_the_log(run: RunDir):
    found = seen(run)

    titles = dict(zip(run.items["item_id"].to_pylist(), run.items["title"].to_pylist(), strict=True))
    for visit in found.visits:
        policy, user = found.policies[visit.policy][0], int(found.users[visit.user][0])
        for table in (mine(run.pages, policy, user), mine(run.events, policy, user)):
            assert {stop.number - 1 for stop in visit.stops} == set(table["page"].to_pylist())
        events = mine(run.events, policy, user)
        shown = [(item.title, item.grade) for stop in visit.stops for item in stop.items]
        assert shown == [
            (titles[item], grade)
            for item, grade in zip(events["item_id"].to_pylist(), events["grade"].to_pylist(), strict=True)
        ]


def mine(table: pa.Table, policy: str, user: int) -> pa.Table:
    table = table.unify_dictionaries()
    return table.filter(pc.and_(pc.equal(table["policy"], policy), pc.equal(table["user_id"], user)))


def test_a_session_ends_as_it_did(run: RunDir):
    ends = {visit.end for visit in seen(run).visits}

    assert "left after page 1: bored" in ends
    assert ends <= {f"left after page {page}: {cause}" for page in range(1, 5) for cause in ("bored", "tired")} | {
        "stayed to the last page"
    }


def test_the_same_users_are_shown_under_every_policy(run: RunDir):
    found = seen(run)

    assert len(found.users) == MOST_USERS
    assert len(found.visits) == MOST_USERS * 3
    assert found.told == "8 of 12 users, drawn by the run's seed: 24 of 36 sessions."


def test_another_seed_draws_other_users(make_run: MakeRun):
    drawn = {tuple(seen(make_run(folder=f"run-{seed}", seeds=[seed])).users) for seed in range(5)}

    assert len(drawn) > 1


def test_every_session_has_a_button_for_its_policy_and_its_user(run: RunDir):
    page = report(run)

    buttons = set(re.findall(r'<input type="radio"[^>]* id="([^"]+)"', page))
    chosen = re.findall(r'class="visit by-(\d+) of-(\d+)"', page)
    assert len(chosen) == len(set(chosen)) == 24
    for policy, user in chosen:
        assert {f"policy-{policy}", f"user-{user}"} <= buttons
        assert f".sessions:has(#policy-{policy}:checked) .visit:not(.by-{policy})" in page
        assert f".sessions:has(#user-{user}:checked) .visit:not(.of-{user})" in page
    assert page.count(" checked>") == 2


def test_what_was_never_logged_is_left_out(run: RunDir):
    viewed = report(run).partition('class="sessions"')[2].partition("</section>")[0]

    assert "satisfaction" in viewed
    for absent in ("verdict", "remembered", "blockquote", "answer "):
        assert absent not in viewed


def test_words_memories_readings_and_verdicts_are_shown(run: RunDir):
    told = {"words": "So so.", "remembered": '[[0, "belief", "Films are long.", 0.9]]', "reading": "mended"}
    found = seen(with_columns(run, **told, verdict=7.0))

    stop = found.visits[0].stops[-1]
    assert (stop.words, stop.remembered, stop.reading) == ("So so.", [("belief", "Films are long.")], "mended")
    assert found.visits[0].verdict == "7"


@pytest.mark.parametrize("damaged", ["[", "3", '{"kind": 1}', "[1, [2], null]"])
def test_a_memory_that_cannot_be_read_is_left_out(run: RunDir, damaged: str):
    assert seen(with_columns(run, remembered=damaged)).visits[0].stops[0].remembered == []


def test_titles_words_and_memories_cannot_become_markup(run: RunDir):
    place = run.items.column_names.index("title")
    run.write_table("items.parquet", run.items.set_column(place, "title", pa.array([EVIL] * len(run.items))))

    page = report(with_columns(run, words=EVIL, remembered=f'[[0, "{EVIL}", "{EVIL}", 0.9]]'))

    assert EVIL not in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_an_item_without_a_title_goes_by_its_id(run: RunDir):
    run.write_table("items.parquet", run.items.filter(pc.greater(run.items["item_id"], 120)))

    visits = seen(RunDir.open(run.folder)).visits
    titles = {item.title for visit in visits for stop in visit.stops for item in stop.items}
    assert "item 100" in titles


def test_much_that_is_said_shows_fewer_users_and_stays_within_the_room(make_run: MakeRun):
    run = make_run({f"policy-{number}": number / 2 for number in range(12)})
    run = with_columns(run, words=EVIL * 100, remembered=f'[[0, "belief", "{"<&> " * 400}", 0.9]]')

    found = seen(run)
    viewed = report(run).partition('class="sessions"')[2].partition("</section>")[0]

    assert 1 <= len(found.users) < MOST_USERS
    assert f"{len(found.users)} of 12 users" in found.told
    assert len(viewed.encode()) < 1.3 * ROOM


def ten_times_as_long(table: pa.Table) -> pa.Table:
    """Return the sessions played ten times over; whoever leaves does so after the last time."""
    rows = table.to_pylist()
    last = {}
    for row in rows:
        last[row["user_id"]] = max(last.get(row["user_id"], 0), row["page"])
    longer = []
    for turn in range(10):
        for row in rows:
            moved = row | {"page": row["page"] + turn * (last[row["user_id"]] + 1)}
            if "exit" in row and turn < 9:
                moved |= {"exit": False, "exit_cause": None}
            longer.append(moved)
    return pa.Table.from_pylist(longer, schema=table.schema)


def test_a_long_session_shows_its_first_pages_and_its_last(make_run: MakeRun):
    run = make_run({"mf": 4.0})
    for kind in ("pages", "events"):
        for path in (run.folder / kind).iterdir():
            pq.write_table(ten_times_as_long(pq.read_table(path)), path)

    found = seen(RunDir.open(run.folder))

    assert any(visit.more for visit in found.visits)
    for visit in found.visits:
        rows = mine(run.pages, "mf", int(found.users[visit.user][0]))
        assert len(visit.stops) + visit.more == len(rows)
        assert visit.stops[-1].number == rows["page"].to_pylist()[-1] + 1


def test_a_page_that_is_shown_is_shown_whole(make_run: MakeRun):
    run = make_run({"mf": 4.0, "popular": 3.0})
    for path in (run.folder / "events").iterdir():
        rows = pq.read_table(path).to_pylist()
        wider = [row | {"rank": row["rank"] + 4 * turn} for row in rows for turn in range(15)]  # pages of sixty items
        pq.write_table(pa.Table.from_pylist(wider, schema=pq.read_schema(path)), path)
    run = RunDir.open(run.folder)

    found = seen(run)
    viewed = report(run).partition('class="sessions"')[2].partition("</section>")[0]

    assert all(len(stop.items) == 60 for visit in found.visits for stop in visit.stops)
    shown = sum(len(stop.items) for visit in found.visits for stop in visit.stops)
    assert len(re.findall(r'<li class="(?:liked|viewed|passed|disliked|unseen)">', viewed)) == shown
    for visit in found.visits:  # pages left out are told, and the last is among those shown
        rows = mine(run.pages, found.policies[visit.policy][0], int(found.users[visit.user][0]))
        assert len(visit.stops) + visit.more == len(rows)


def test_several_seeds_are_told_apart(finished: RunDir):
    found = seen(finished)

    assert all(", seed " in name for name, _ in found.users)
    assert "counted once a seed" in found.told
