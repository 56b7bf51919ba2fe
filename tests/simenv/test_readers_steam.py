from pathlib import Path

import numpy as np
import pytest

from simenv.errors import DataError
from simenv.readers import read

ROWS = """7,"Portal, the Game",purchase,1.0,0
7,"Portal, the Game",play,12.5,0
7,Dota 2,purchase,1.0,0
7,"Portal, the Game",purchase,1.0,0
7,"Portal, the Game",play,2.5,0
3,Dota 2,purchase,1.0,0
"""


def test_purchases_are_kept_once_with_the_hours_played(tmp_path: Path):
    (tmp_path / "steam-200k.csv").write_text(ROWS)

    dataset = read(tmp_path)

    assert dataset.users.ids.tolist() == [3, 7]
    assert dataset.catalog.titles.tolist() == ["Dota 2", "Portal, the Game"]
    assert dataset.interactions.items.tolist() == [0, 1, 0]
    assert np.isnan(dataset.interactions.ratings).all()
    np.testing.assert_array_equal(dataset.interactions.strengths, [np.nan, 15, np.nan])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("7,Doom,sold,1.0,0", "steam.csv, line 7: 'sold' is neither purchase nor play"),
        ("7,Doom,play,long,0", "steam.csv, line 7: hours 'long' is not a number"),
        ("7,Doom,play,-1,0", "steam.csv, line 7: -1 is no number of hours"),
        ("7,,play,1,0", "steam.csv, line 7: the user or the title is blank"),
        ("7,Doom,play", "steam.csv, line 7: 3 fields where 5 are due"),
    ],
)
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, row: str, told: str):
    (tmp_path / "steam.csv").write_text(ROWS + row + "\n")

    with pytest.raises(DataError) as error:
        read(tmp_path / "steam.csv")

    assert told in str(error.value)
