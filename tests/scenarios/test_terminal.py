"""What data and other people's runs hold moves no cursor and turns round no text in a terminal."""

import io
import json

import pytest
from rich.table import Table
from rich.text import Text

from simenv.scenarios.terminal import Terminal, escaped

HOSTILE = "ap\x1b[2Jple\u202egnp.exe\x07\x9b31m\x1b]0;title\x07"
MOVES = set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize("width", [40, 160])
def test_nothing_printed_holds_what_moves_a_cursor(width: int):
    out = io.StringIO()
    table = Table("item", title=HOSTILE)
    table.add_row(HOSTILE)
    Terminal(file=out, width=width).print(HOSTILE, Text(HOSTILE), table)
    assert not MOVES & set(out.getvalue())
    assert out.getvalue().count("ple") == 4
    assert len(out.getvalue().splitlines()) > 4


def test_its_own_colours_stay():
    out = io.StringIO()
    Terminal(file=out, force_terminal=True, color_system="standard").print(Text(f"{HOSTILE} red", style="red"))
    assert out.getvalue().startswith("\x1b[31m")
    assert out.getvalue().count("\x1b") == 2


@pytest.mark.parametrize("said", [HOSTILE, "é 😀 \ud800 \U000e0001", 'a "quote"\nand a line'])
def test_escaped_json_says_the_same(said: str):
    shown = escaped(json.dumps({"said": said}, ensure_ascii=False))
    assert json.loads(shown) == {"said": said}
    assert shown.isprintable()
