"""Times of a table in whatever way they are written, held against Python's own datetime; and rows that are left out."""

import random
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest

from simenv.errors import DataError
from simenv.interactions import NO_TIME
from simenv.readers import counted, read, read_counted
from simenv.readers.times import times_of

DRAWN = random.Random(3)
MOMENTS = [datetime(1971, 1, 1, tzinfo=UTC) + timedelta(seconds=DRAWN.randrange(2**31 - 10**8)) for _ in range(500)]
MOMENTS += [datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(2000, 12, 31, tzinfo=UTC)]
SECONDS = [int(one.timestamp()) for one in MOMENTS]
WAYS = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%d/%m/%Y %H:%M:%S"]


def found(texts: list[str | None], form: str | None = None) -> list[int]:
    times = times_of(pa.array(texts, pa.string()), "seen", form)
    assert not times.bad.any()
    return times.seconds.tolist()


@pytest.mark.parametrize("way", [*WAYS, "%m/%d/%Y %H:%M:%S"])
def test_a_moment_is_the_same_in_every_way_of_writing_it(way: str):
    assert found([one.strftime(way) for one in MOMENTS]) == SECONDS


@pytest.mark.parametrize("way", ["%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d"])
def test_a_day_begins_at_midnight(way: str):
    assert found([one.strftime(way) for one in MOMENTS]) == [second - second % 86_400 for second in SECONDS]


def test_an_offset_is_heeded():
    zones = [timezone(timedelta(minutes=DRAWN.randrange(-48, 56) * 15)) for _ in MOMENTS]
    there = [one.astimezone(zone) for one, zone in zip(MOMENTS, zones, strict=True)]
    assert found([one.isoformat() for one in there]) == SECONDS
    assert found([one.strftime("%Y-%m-%d %H:%M:%S%z") for one in there]) == SECONDS


def test_numbers_are_seconds_or_milliseconds():
    assert found([str(one) for one in SECONDS]) == SECONDS
    assert found([f"{one}.75" for one in SECONDS]) == SECONDS
    late = [one for one in SECONDS if one > 10**8]
    assert found([str(one * 1000 + 7) for one in late]) == late


def test_a_form_of_ones_own_can_be_named():
    form = "%d %b %Y, %I:%M:%S %p"
    assert found([one.strftime(form) for one in MOMENTS], form) == SECONDS


def test_slashes_that_tell_no_order_are_for_the_user_to_say():
    with pytest.raises(DataError, match=r"column 'seen': '3/4/2019' may be day/month or month/day, and no row tells"):
        found(["3/4/2019", "5/6/2019"])
    assert found(["3/4/2019", "13/6/2019"])[0] == found(["2019-04-03"])[0]
    assert found(["3/4/2019", "6/13/2019"])[0] == found(["2019-03-04"])[0]
    assert found(["3/4/2019"], "%m/%d/%Y") == found(["2019-03-04"])
    with pytest.raises(DataError, match="some rows can only be the one, and some only the other"):
        found(["31/4/2019", "4/31/2019", "13/4/2019", "4/13/2019"])


@pytest.mark.parametrize("text", ["2019-02-29", "2019-13-01", "2019-00-10", "2019-01-01 24:00", "2019-1-1x", "soon"])
def test_a_day_that_is_none_is_told(text: str):
    times = times_of(pa.array(["2019-01-01", text, None, " "]), "seen")
    assert times.bad.tolist() == [False, True, False, False]
    assert times.seconds.tolist() == [1_546_300_800, NO_TIME, NO_TIME, NO_TIME]
    with pytest.raises(DataError, match="column 'seen': 'soon' is no time as it is known"):
        times_of(pa.array(["soon", "later"]), "seen")


DIRTY = """user_id;item_id;rating;timestamp
ann;a;4,5;31.03.2019
ann;b;many;31.03.2019
bob;a;3;soon
bob;b;5;30.02.2019
;a;5;01.04.2019
cy;b;2
cy;a;9;01.04.2019 10:30
cy;c;1;
cy;c;2;
"""


def test_rows_that_cannot_be_read_are_left_out_and_counted_where_one_says_so(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text(DIRTY, encoding="utf-8-sig")
    with pytest.raises(DataError, match=r"log\.csv, line "):
        read(path)

    dataset, left_out = read_counted(path, bad="drop", lowest=1, highest=5, duplicates="last")
    assert left_out == {
        "rating is not a number": 1,
        "timestamp is not a date such as 31.03.2019": 2,
        "the user id is blank": 1,
        "a line has not 4 fields": 1,
        "the rating is blank or outside 1..5": 1,
        "the same user and item stand in another row": 1,
    }
    assert dataset.users.ids.tolist() == ["ann", "cy"]
    assert dataset.interactions.ratings.tolist() == [4.5, 2.0]
    assert counted(left_out).startswith("2 (timestamp is not a date such as 31.03.2019), 1 (")
    assert counted({}) == "nothing"


def test_nothing_left_is_told_with_what_was_left_out(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,rating\nann,a,good\nbob,b,bad\n")
    with pytest.raises(DataError, match=r"no row .*; left out: 2 \(rating is not a number\)"):
        read(path, bad="drop")
    with pytest.raises(DataError, match="bad=skip: no such choice; there are error, drop"):
        read(path, bad="skip")


def test_a_decimal_comma_is_none_where_commas_part_the_fields(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text('user_id,item_id,rating\nann,a,"4,5"\nbob,b,4\n')
    with pytest.raises(DataError, match="rating '4,5' is not a number"):
        read(path)
