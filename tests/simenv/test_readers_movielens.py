from pathlib import Path

import numpy as np
import pytest

from simenv.errors import DataError
from simenv.readers import check, read

MOVIES = 'movieId,title,genres\n1,Heat (1995),Action|Crime\n2,"Clerks, The (1994)",(no genres listed)\n'
RATINGS = "userId,movieId,rating,timestamp\n1,1,4.5,100\n1,2,3.0,50\n2,2,0.5,70\n"


@pytest.fixture
def csv_folder(tmp_path: Path) -> Path:
    (tmp_path / "movies.csv").write_text(MOVIES)
    (tmp_path / "ratings.csv").write_text(RATINGS)
    return tmp_path


@pytest.fixture
def dat_folder(tmp_path: Path) -> Path:
    (tmp_path / "ratings.dat").write_text("1::10::5::200\n1::20::3::100\n2::10::4::300\n")
    movies = "10::Alien: Resurrection (1997)::Action|Sci-Fi\n20::Misérables, Les (1995)::Drama\n"
    (tmp_path / "movies.dat").write_bytes(movies.encode("latin-1"))
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    return tmp_path


@pytest.fixture
def hundred_k_folder(tmp_path: Path) -> Path:
    (tmp_path / "u.data").write_text("7\t1\t3\t881250949\n7\t2\t5\t881250000\n")
    flags = ["0"] * 19
    flags[1] = flags[5] = "1"
    film = "|".join(["1", "Toy Story (1995)", "01-Jan-1995", "", "http://x", *flags])
    blank = "|".join(["2", "unknown", "", "", "", "1", *["0"] * 18])
    (tmp_path / "u.item").write_text(f"{film}\n{blank}\n")
    (tmp_path / "u.user").write_text("7|24|M|technician|85711\n")
    (tmp_path / "u1.base").write_text("7\t1\t3\t881250949\n")
    (tmp_path / "u1.test").write_text("7\t2\t5\t881250000\n")
    return tmp_path


def test_the_csv_layout_is_read_in_order_of_time(csv_folder: Path):
    dataset = read(csv_folder)

    assert dataset.interactions.items.tolist() == [1, 0, 1]
    assert dataset.interactions.ratings.tolist() == [3.0, 4.5, 0.5]
    assert dataset.users.ids.tolist() == [1, 2]


def test_the_year_is_taken_out_of_the_title(csv_folder: Path):
    catalog = read(csv_folder).catalog

    assert catalog.titles.tolist() == ["Heat", "Clerks, The"]
    assert catalog.years.tolist() == [1995, 1994]
    assert catalog.categories == (("Action", "Crime"), ())


def test_the_1m_layout_is_read_with_its_users(dat_folder: Path):
    dataset = read(dat_folder)

    assert dataset.catalog.titles.tolist() == ["Alien: Resurrection", "Misérables, Les"]
    assert dataset.users.attributes["occupation"].tolist() == ["K-12 student", "self-employed"]
    assert dataset.users.attributes["age_group"].tolist() == ["Under 18", "56+"]  # 1M writes the youngest of each
    assert "age" not in dataset.users.attributes
    assert dataset.interactions.items.tolist() == [1, 0, 0]


def test_the_100k_layout_is_read_with_its_splits(hundred_k_folder: Path):
    dataset = read(hundred_k_folder)

    assert dataset.catalog.categories == (("Action", "Comedy"), ())
    assert np.isnan(dataset.catalog.years[1])
    assert dataset.users.attributes["age"].tolist() == ["24"]
    assert dataset.published["u1"].tolist() == ["test", "train"]


BAD_RATINGS = {
    "1,1,7,100": "ratings.csv, line 3: rating 7 is outside 0.5..5; correct or drop the row",
    "1,1,good,100": "ratings.csv, line 3: rating 'good' is not a number",
    "1,1,,100": "ratings.csv, line 3: the rating is blank",
    "1,1,nan,100": "ratings.csv, line 3: the rating is blank",
    "1,1,4": "ratings.csv, line 3: 3 fields where 4 are due",
    "1,1,4,-5": "ratings.csv, line 3: timestamp -5 is negative",
    "1,1,4,978300760000": "ratings.csv, line 3: timestamp 978300760000 is after the year 2100; give seconds",
    "1,9,4,100": "ratings.csv, line 3: item 9 is not among the items listed",
    ",1,4,100": "ratings.csv, line 3: the user id is blank",
    "ann,1,4,100": "ratings.csv, line 3: userId 'ann' is not a whole number",
    "5,1,4,100\n5,1,4,100": "ratings.csv, line 4: user 5 and item 1 stand together a second time",
}


@pytest.mark.parametrize(("row", "told"), BAD_RATINGS.items())
def test_a_bad_rating_is_told_with_its_line(csv_folder: Path, row: str, told: str):
    head, first, *rest = RATINGS.splitlines()
    (csv_folder / "ratings.csv").write_text("\n".join([head, first, row, *rest]))

    with pytest.raises(DataError) as error:
        read(csv_folder)

    assert told in str(error.value)


def test_a_bad_line_between_colons_is_told(dat_folder: Path):
    (dat_folder / "ratings.dat").write_text("1::10::5::200\n1::20:3::100\n")

    with pytest.raises(DataError, match=r"ratings\.dat, line 2: 3 fields where 4 are due"):
        read(dat_folder)


def test_a_column_of_words_is_told_as_such(csv_folder: Path):
    (csv_folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,good,1\n1,2,bad,2\n")

    with pytest.raises(DataError, match="no row has such a value, so choose another column than 'rating'"):
        read(csv_folder)


def test_a_missing_column_is_told_with_those_there(csv_folder: Path):
    (csv_folder / "ratings.csv").write_text("userId,movieId,stars,timestamp\n1,1,4,1\n")

    with pytest.raises(DataError, match=r"no column 'rating'; its columns are userId, movieId, stars"):
        read(csv_folder)


def test_a_film_listed_twice_is_told_with_both_lines(csv_folder: Path):
    (csv_folder / "movies.csv").write_text(MOVIES + "1,Heat again (1996),Drama\n")

    with pytest.raises(DataError, match=r"movies\.csv, line 4: movieId 1 stands in line 2 already; drop one"):
        read(csv_folder)


def test_broken_encoding_is_told_with_its_line(csv_folder: Path):
    (csv_folder / "movies.csv").write_bytes(MOVIES.replace("Heat", "Misérables").encode("latin-1"))

    with pytest.raises(DataError, match=r"movies\.csv, line 2: byte 0xe9 is not utf-8 text"):
        read(csv_folder)


@pytest.mark.parametrize("missing", ["movies.csv"])
def test_a_missing_file_is_named(csv_folder: Path, missing: str):
    (csv_folder / missing).unlink()

    with pytest.raises(DataError, match=rf"{missing}: no such file"):
        read(csv_folder, "movielens")


@pytest.mark.parametrize("file", ["movies.csv", "ratings.csv"])
def test_an_empty_file_is_named(csv_folder: Path, file: str):
    (csv_folder / file).write_text("")

    with pytest.raises(DataError, match=rf"{file}: the file is empty"):
        read(csv_folder)


def test_a_header_alone_is_no_data(csv_folder: Path):
    (csv_folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")

    with pytest.raises(DataError, match=r"ratings\.csv: no row in it"):
        read(csv_folder)


def test_repeats_and_strangers_can_be_let_go(csv_folder: Path):
    (csv_folder / "ratings.csv").write_text(RATINGS + "1,1,2.0,100\n3,99,4,100\n")

    first = read(csv_folder, duplicates="first", unknown="drop")
    last = read(csv_folder, duplicates="last", unknown="drop")

    assert first.interactions.ratings.tolist() == [3.0, 4.5, 0.5]
    assert last.interactions.ratings.tolist() == [3.0, 2.0, 0.5]


def test_a_check_finds_every_problem_at_once(csv_folder: Path):
    bad = RATINGS + "1,1,9,100\nx,1,4,100\n2,9,4,100\n2,1,4\n"
    (csv_folder / "ratings.csv").write_text(bad)

    dataset, problems = check(csv_folder)

    assert dataset is not None
    assert len(dataset.interactions) == 3
    assert [problem.partition("ratings.csv, ")[2][:6] for problem in problems] == [
        "line 6",
        "line 8",
        "line 5",
        "line 7",
    ]
