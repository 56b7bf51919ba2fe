"""However a file is damaged, its reader says so in words or reads what is left."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simenv.errors import DataError
from simenv.readers import check, read

REVIEW = {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 9}
FILES = {
    "movielens": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.5,100\n2,1,3.0,50\n",
        "movies.csv": 'movieId,title,genres\n1,"Heat, The (1995)",Action|Crime\n',
    },
    "amazon": {"Games.json": f"{json.dumps(REVIEW)}\n", "meta_Games.json": "{'asin': 'B1', 'title': 'Go'}\n"},
    "steam": {"steam.csv": '7,"Portal, the Game",purchase,1.0,0\n7,Dota 2,play,3.5,0\n'},
}
PIECES = [b",", b'"', b"\n", b"\r", b"|", b"-", b"9" * 25, b"nan", b"1e999", b"null", b"{", b"\xff", b"\x00"]


@pytest.mark.parametrize(("format", "file"), [(format, file) for format in FILES for file in FILES[format]])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([*PIECES, b""])), min_size=1, max_size=3))
def test_damage_is_told_in_words(tmp_path: Path, format: str, file: str, damage: list[tuple[float, bytes]]):
    for name, text in FILES[format].items():
        (tmp_path / name).write_text(text)
    held = bytearray((tmp_path / file).read_bytes())
    for where, piece in damage:
        place = int(where * len(held))
        held[place : place + 1] = piece
    (tmp_path / file).write_bytes(held)

    _, problems = check(tmp_path, format)

    if problems:
        with pytest.raises(DataError):
            read(tmp_path, format)
    else:
        assert len(read(tmp_path, format).interactions)
