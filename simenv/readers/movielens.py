"""MovieLens as GroupLens publishes it: 100K, 1M, 10M, 20M, 25M, 32M and latest."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.errors import DataError

from .assembly import Log, as_ids, assemble, ids_of, numbers, seconds, sorted_ids, words
from .checks import STRICT, Door, need_file, problem, shown
from .textfile import TextLayout, read_columns, read_listing

GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
OCCUPATIONS = {  # 1M writes them as numbers
    "0": "other",
    "1": "academic/educator",
    "2": "artist",
    "3": "clerical/admin",
    "4": "college/grad student",
    "5": "customer service",
    "6": "doctor/health care",
    "7": "executive/managerial",
    "8": "farmer",
    "9": "homemaker",
    "10": "K-12 student",
    "11": "lawyer",
    "12": "programmer",
    "13": "retired",
    "14": "sales/marketing",
    "15": "scientist",
    "16": "self-employed",
    "17": "technician/engineer",
    "18": "tradesman/craftsman",
    "19": "unemployed",
    "20": "writer",
}
AGES = {  # of whom 1M writes the youngest
    "1": "Under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}
RATED = ("user", "item", "rating", "timestamp")
SPLITS = ("u1", "u2", "u3", "u4", "u5", "ua", "ub")
Parts = tuple[Log, Catalog, Users | None]


def recognises(source: Path) -> bool:
    """Tell whether a folder looks like one of MovieLens."""
    return any(
        (source / log).is_file() and (source / items).is_file()
        for log, items in (("u.data", "u.item"), ("ratings.dat", "movies.dat"), ("ratings.csv", "movies.csv"))
    )


def read(
    source: Path,
    *,
    name: str | None = None,
    duplicates: str = "error",
    unknown: str = "error",
    door: Door = STRICT,
) -> Dataset:
    """Return the data set of a folder as it comes out of the publisher's archive."""
    if (source / "u.data").exists():
        log, catalog, users = _hundred_k(source, door)
    elif (source / "ratings.dat").exists():
        log, catalog, users = _colons(source, door)
    elif (source / "ratings.csv").exists():
        log, catalog, users = _commas(source, door)
    else:
        what = "holds no u.data, ratings.dat or ratings.csv"
        raise DataError(problem(shown(source), what, "give the unpacked MovieLens folder"))
    return assemble(
        name or source.resolve().name,
        log,
        catalog,
        users,
        door=door,
        rating_range=(0.5, 5.0),
        duplicates=duplicates,
        unknown=unknown,
    )


def year_apart(title: str) -> tuple[str, float]:
    """Return a title such as 'Heat (1995)' without its year, and the year, NaN where it has none."""
    found = re.fullmatch(r"(.*\S)\s*\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)\s*", title)
    return (found[1], float(found[2])) if found else (title.strip(), float("nan"))


def _hundred_k(source: Path, door: Door) -> Parts:
    layout = TextLayout(RATED, "\t", "latin-1", quoted=False)
    log = _log(source / "u.data", layout, RATED, door)
    columns = ("item", "title", "release", "video release", "url", *GENRES)
    films = read_listing(source / "u.item", TextLayout(columns, "|", "latin-1", quoted=False), "item", door)
    catalog = _catalog(films, lambda film: [genre for genre in GENRES[1:] if film[genre] == "1"])
    users = None
    if (source / "u.user").exists():
        people = TextLayout(("user", "age", "gender", "occupation", "zip_code"), "|", "latin-1", quoted=False)
        users = _users(read_listing(source / "u.user", people, "user", door))
    for split in SPLITS:
        if (source / f"{split}.base").exists() and (source / f"{split}.test").exists():
            log = _with_split(log, split, source, layout, door)
    return log, catalog, users


def _colons(source: Path, door: Door) -> Parts:
    log = _log(source / "ratings.dat", TextLayout(RATED, "::"), RATED, door)
    path = source / "movies.dat"
    layout = TextLayout(("item", "title", "genres"), "::", _encoding(path))
    catalog = _catalog(read_listing(path, layout, "item", door), _genres)
    users = None
    if (source / "users.dat").exists():
        columns = ("user", "gender", "age", "occupation", "zip_code")
        people = read_listing(source / "users.dat", TextLayout(columns, "::", "latin-1"), "user", door)
        for person in people.values():
            age = person.pop("age")
            person["age_group"] = AGES.get(age, age)
            person["occupation"] = OCCUPATIONS.get(person["occupation"], person["occupation"])
        users = _users(people)
    return log, catalog, users


def _commas(source: Path, door: Door) -> Parts:
    log = _log(source / "ratings.csv", TextLayout(), ("userId", "movieId", "rating", "timestamp"), door)
    films = read_listing(source / "movies.csv", TextLayout(), "movieId", door, needed=("title", "genres"))
    return log, _catalog(films, _genres), None


def _log(path: Path, layout: TextLayout, names: tuple[str, ...], door: Door) -> Log:
    kinds = dict(zip(names, (pa.int64(), pa.int64(), pa.float32(), pa.int64()), strict=True))
    columns = read_columns(path, layout, kinds, door)
    user, item, rating, time = (columns.data[name] for name in names)
    return Log(
        columns.file,
        columns.place,
        as_ids(user, names[0]),
        as_ids(item, names[1]),
        numbers(rating),
        seconds(time),
    )


def _with_split(log: Log, split: str, source: Path, layout: TextLayout, door: Door) -> Log:
    column = np.full(len(log), "", dtype=object)
    users, items = sorted_ids(log.users), sorted_ids(log.items)
    here = log.pairs(users, items)
    for part, word in (("base", "train"), ("test", "test")):
        named = _log(source / f"{split}.{part}", layout, RATED, door)
        column[np.isin(here, named.pairs(users, items))] = word
    return replace(log, published={**log.published, split: column})


def _encoding(path: Path) -> str:
    # 1M is Latin-1, 10M is UTF-8, and neither says so.
    try:
        need_file(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _genres(film: Mapping[str, str]) -> list[str]:
    return [genre for genre in film["genres"].split("|") if genre and genre != "(no genres listed)"]


def _catalog(films: Mapping[int | str, Mapping[str, str]], genres: Callable[[Mapping[str, str]], list[str]]) -> Catalog:
    titles = [year_apart(film["title"]) for film in films.values()]
    return Catalog(
        ids=ids_of(films),
        titles=words([title or None for title, _ in titles]),
        categories=tuple(tuple(genres(film)) for film in films.values()),
        descriptions=words([None] * len(films)),
        years=np.array([year for _, year in titles]),
    )


def _users(people: Mapping[int | str, Mapping[str, str]]) -> Users:
    attributes = [column for column in next(iter(people.values()), {}) if column != "user"]
    return Users(
        ids_of(people),
        {column: words([person[column] or None for person in people.values()]) for column in attributes},
    )
