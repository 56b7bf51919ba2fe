import gzip
import json
from pathlib import Path

import pytest

from simenv.errors import DataError
from simenv.readers import read

REVIEWS = [
    {
        "reviewerID": "A2ANN",
        "asin": "B000000002",
        "overall": 5.0,
        "unixReviewTime": 200,
        "reviewText": "Good",
    },
    {"reviewerID": "A2ANN", "asin": "B000000001", "overall": 3, "unixReviewTime": 100, "verified": True},
    {"reviewerID": "A1BOB", "asin": "B000000002", "overall": 1.0, "unixReviewTime": 150},
]
META_2014 = "{'asin': 'B000000001', 'title': 'Soap &amp; Co', 'categories': [['Beauty', 'Bath']], 'brand': 'Dove'}\n"
META_2018 = {
    "asin": "B000000002",
    "title": "Comb",
    "category": ["Beauty", "Hair", "Hair"],
    "description": ["A comb.", "Of wood."],
    "brand": "",
}


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reviews_Beauty_5.json").write_text(lines(*REVIEWS))
    meta = META_2014 + lines(META_2018, {"asin": "B000000009", "title": "Never reviewed"})
    with gzip.open(tmp_path / "meta_Beauty.json.gz", "wt") as file:
        file.write(meta)
    return tmp_path


def test_reviews_are_read_with_their_metadata_of_either_year(folder: Path):
    dataset = read(folder)

    assert dataset.users.ids.tolist() == ["A1BOB", "A2ANN"]
    assert dataset.interactions.items.tolist() == [1, 0, 1]
    assert dataset.interactions.ratings.tolist() == [1, 3, 5]
    assert dataset.catalog.titles.tolist() == ["Soap & Co", "Comb"]
    assert dataset.catalog.categories == (("Beauty", "Bath"), ("Beauty", "Hair"))
    assert dataset.catalog.descriptions.tolist() == ["By Dove.", "A comb. Of wood."]


def test_packed_reviews_are_read_without_metadata(tmp_path: Path):
    with gzip.open(tmp_path / "Games.json.gz", "wt") as file:
        file.write(lines(*REVIEWS))

    dataset = read(tmp_path / "Games.json.gz")

    assert dataset.name == "Games"
    assert dataset.catalog.titles.tolist() == [None, None]


def test_a_cut_off_archive_is_told(tmp_path: Path):
    path = tmp_path / "Games.json.gz"
    with gzip.open(path, "wt") as file:
        file.write(lines(*REVIEWS))
    path.write_bytes(path.read_bytes()[:-12])

    with pytest.raises(DataError, match=r"Games\.json\.gz, line \d: cannot be unpacked .*; fetch it again"):
        read(path, "amazon")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{'reviewerID': 'A1', 'asin': ", "line 4: not a JSON record; correct or drop the row"),
        (lines({"reviewerID": "A1", "overall": 5, "unixReviewTime": 1}), "line 4: the item id is blank"),
        (lines({**REVIEWS[0], "overall": "five"}), "line 4: overall 'five' is not a number"),
        (lines({**REVIEWS[0], "overall": 50}), "line 4: rating 50 is outside 0..5"),
        (lines(REVIEWS[0]), "line 4: user A2ANN and item B000000002 stand together a second time"),
    ],
)
def test_a_bad_review_is_told_with_its_line(folder: Path, line: str, told: str):
    path = folder / "reviews_Beauty_5.json"
    path.write_text(path.read_text() + line)

    with pytest.raises(DataError) as error:
        read(folder)

    assert told in str(error.value)


def test_bad_metadata_is_told_with_its_line(folder: Path):
    (folder / "meta_Beauty.json.gz").unlink()
    (folder / "meta_Beauty.json").write_text(lines(META_2018) + "{'asin'\n")

    with pytest.raises(DataError, match=r"meta_Beauty\.json, line 2: not a JSON record"):
        read(folder)


@pytest.mark.parametrize("row", ["A2ANN0000000,B000000001,4.0,99", "B000000001,A2ANN0000000,4.0,99"])
def test_a_table_of_ratings_is_read_in_either_order(tmp_path: Path, row: str):
    (tmp_path / "ratings_Beauty.csv").write_text(row + "\n")

    dataset = read(tmp_path / "ratings_Beauty.csv")

    assert dataset.users.ids.tolist() == ["A2ANN0000000"]
    assert dataset.catalog.ids.tolist() == ["B000000001"]


def test_a_table_whose_order_shows_in_nothing_needs_it_said(tmp_path: Path):
    path = tmp_path / "ratings_Beauty.csv"
    path.write_text("A200000000,B000000001,4.0,99\n")

    with pytest.raises(DataError, match="give order=user,item"):
        read(path)
    assert read(path, order="item,user").users.ids.tolist() == ["B000000001"]


def test_two_files_of_reviews_need_a_choice(folder: Path):
    (folder / "reviews_Games_5.json").write_text(lines(*REVIEWS))

    with pytest.raises(DataError, match=r"give one of reviews_Beauty_5\.json, reviews_Games_5\.json"):
        read(folder)
