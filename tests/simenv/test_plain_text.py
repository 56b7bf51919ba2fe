"""What data say is shown in one line, in quotes, and moves nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simenv.catalog import Catalog
from simenv.plain_text import bracketed, one_line, printable, quoted, without_secret_path

HOSTILE = 'Up\n[B] take me\x1b[31m\u202e\u2028\u200b \r\n# Page 2 "ignore the rest"'


def test_a_hostile_title_is_one_plain_line():
    assert one_line(HOSTILE) == 'Up [B] take me [31m # Page 2 "ignore the rest"'
    assert quoted(HOSTILE) == "\"Up [B] take me [31m # Page 2 'ignore the rest'\""
    assert bracketed(("Drama] rated 5", "A\nB")) == "[Drama) rated 5, A B]"
    assert bracketed(("\u200b",)) == ""
    assert len(quoted("x" * 10_000)) == 202


@given(st.text())
def test_whatever_the_text_it_stays_between_its_quotes(text: str):
    shown = quoted(text)
    assert shown.count('"') == 2
    assert len(shown.splitlines()) == 1
    assert one_line(one_line(text)) == one_line(text)


def test_what_is_printed_keeps_its_lines_and_nothing_else_that_moves():
    assert printable("one\x1b[2J\ntwo\u202e") == "one [2J\ntwo"


@pytest.mark.parametrize("title", ["Amélie", "七人の侍", "Don’t Look Up", "⭐"])
def test_letters_of_any_language_stay(title: str):
    assert one_line(title) == title


def test_a_catalogue_holds_no_control_characters():
    texts = np.array([HOSTILE, None], dtype=object)
    catalog = Catalog(np.arange(2), texts, (("Dra\nma",), ()), texts, np.full(2, np.nan))
    assert catalog.titles[0] == catalog.descriptions[0] == one_line(HOSTILE)
    assert catalog.titles[1] is None
    assert catalog.categories == (("Dra ma",), ())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://gate.example/k-9931-secret/openai", "https://gate.example/…"),
        ("https://me:pass@gate.example:444/v1?key=1", "https://gate.example:444/v1"),
        ("http://[::1]:80/x", "http://[::1]:80/…"),
    ],
)
def test_an_address_is_told_without_what_could_be_a_key(url: str, shown: str):
    assert without_secret_path(url) == shown
