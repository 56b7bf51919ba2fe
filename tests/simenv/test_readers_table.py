from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simenv.errors import DataError
from simenv.interactions import NO_TIME
from simenv.readers import read

ITEMS = "code;name;tags;about;out\nb;Heat;crime, drama;A heist.;1995-12-15\na;Alien;;;\n"
LOG = "who;what;stars;when\nann;a;4,5;2020-01-02 00:00:00\n"


def test_columns_are_found_under_their_usual_names(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("item_id,user_id,rating,timestamp,page\n10,1,4,60,2\n11,1,,30,2\n")

    dataset = read(path)

    assert dataset.name == "log"
    assert dataset.catalog.ids.tolist() == [10, 11]
    assert dataset.interactions.items.tolist() == [1, 0]
    assert dataset.interactions.times.tolist() == [30, 60]


def test_columns_can_be_named(tmp_path: Path):
    (tmp_path / "log.txt").write_text("who;what;stars;when\nann;a;4.5;2020-01-02 00:00:00\nann;b;1;\n")
    (tmp_path / "things.txt").write_text(ITEMS)

    dataset = read(
        tmp_path / "log.txt",
        "table",
        user="who",
        item="what",
        rating="stars",
        timestamp="when",
        time_unit="date",
        delimiter=";",
        items="things.txt",
        item_key="code",
        title="name",
        categories="tags",
        separator=",",
        description="about",
        year="out",
    )

    assert dataset.interactions.times.tolist() == [1_577_923_200, NO_TIME]
    assert dataset.interactions.items.tolist() == [1, 0]
    assert dataset.catalog.titles.tolist() == ["Heat", "Alien"]
    assert dataset.catalog.categories == (("crime", "drama"), ())
    assert dataset.catalog.descriptions.tolist() == ["A heist.", None]
    assert dataset.catalog.years.tolist()[0] == 1995


def test_a_parquet_table_reads_like_a_text(tmp_path: Path):
    log = {"user_id": ["ann", "bob"], "item_id": [1, 2], "rating": [3, None], "timestamp": [2000, 4000]}
    pq.write_table(pa.table(log), tmp_path / "log.parquet")
    pq.write_table(pa.table({"item_id": [2, 1], "title": ["Two", "One"]}), tmp_path / "items.parquet")

    dataset = read(tmp_path / "log.parquet", time_unit="ms", items="items.parquet")

    assert dataset.interactions.times.tolist() == [2, 4]
    assert dataset.interactions.items.tolist() == [1, 0]
    assert dataset.catalog.titles.tolist() == ["Two", "One"]


def test_ids_with_leading_zeros_stay_texts(tmp_path: Path):
    (tmp_path / "log.csv").write_text("user_id,item_id\n007,1\n8,2\n")

    assert read(tmp_path / "log.csv").users.ids.tolist() == ["007", "8"]


def test_another_encoding_can_be_named(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_bytes("user_id,item_id\nzoë,1\n".encode("latin-1"))

    with pytest.raises(DataError, match=r"line 2: byte 0xeb is not utf-8 text; .*encoding=latin-1"):
        read(path, "table")
    assert read(path, encoding="latin-1").users.ids.tolist() == ["zoë"]
    with pytest.raises(DataError, match="encoding=klingon: no such encoding"):
        read(path, "table", encoding="klingon")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("ann,1,9,5", "log.csv, line 3: rating 9 is outside 1..5"),
        ("ann,1,4,later", "log.csv, line 3: timestamp 'later' is not a number"),
        ("ann,1,4", "log.csv, line 3: 3 fields where 4 are due (user_id, item_id, rating, timestamp)"),
        ('ann,"1,4,5', "log.csv, line 3: 2 fields where 4 are due"),
        (",1,4,5", "log.csv, line 3: the user id is blank"),
        (" ,1,4,5", "log.csv, line 3: the user id is blank"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, row: str, told: str):
    (tmp_path / "log.csv").write_text(f"user_id,item_id,rating,timestamp\nbob,1,5,1\n{row}\n")

    with pytest.raises(DataError) as error:
        read(tmp_path / "log.csv", lowest=1, highest=5)

    assert told in str(error.value)


def test_an_unguessable_format_is_told_with_those_known(tmp_path: Path):
    (tmp_path / "log.csv").write_text("who,what\n1,2\n")

    with pytest.raises(DataError, match="cannot be guessed; give one of the formats plain, movielens"):
        read(tmp_path / "log.csv")
    with pytest.raises(DataError, match="no format 'movies'; there are plain"):
        read(tmp_path / "log.csv", "movies")


def test_an_unknown_option_is_told_with_those_known(tmp_path: Path):
    (tmp_path / "log.csv").write_text("who,what\n1,2\n")

    with pytest.raises(DataError, match="table: no option 'users'; there are user, item"):
        read(tmp_path / "log.csv", "table", users="who")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("file", ["log.csv", "log.tsv"])
def test_the_delimiter_is_found_in_the_first_line(tmp_path: Path, delimiter: str, file: str):
    rows = [["user_id", '"item_id"', "rating", '"seen, then; rated"'], ["ann", '"a,b;c"', "4", "x"]]
    text = "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    (tmp_path / file).write_bytes(b"\xef\xbb\xbf" + text.encode())

    dataset = read(tmp_path / file)

    assert dataset.catalog.ids.tolist() == ["a,b;c"]
    assert dataset.interactions.ratings.tolist() == [4]
    assert repr(dataset) == "<Dataset 'log': 1 users, 1 items, 1 interactions>"
