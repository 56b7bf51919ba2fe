"""Numbers carry the digits that their intervals allow."""

import pytest

from simenv.reports.discretion import without_paths
from simenv.reports.numbers import interval, number, p_value, percent, signed


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (4.21387, 4.0, 4.4, "4.21"),
        (4.21387, 3.0, 5.4, "4.2"),
        (412.387, 380.0, 440.0, "412"),
        (-0.0123, -0.02, -0.01, "−0.012"),
        (-0.001, -0.5, 0.5, "0.0"),
        (1234.5, None, None, "1,234"),
        (0.5, None, None, "0.500"),
        (0.0, 0.0, 0.0, "0"),
        (None, None, None, "—"),
        (float("nan"), None, None, "—"),
    ],
)
def test_a_number_has_the_digits_its_interval_allows(
    value: float | None, low: float | None, high: float | None, words: str
):
    assert number(value, low, high) == words


def test_both_ends_of_an_interval_have_the_same_digits():
    assert interval(-0.5, 0.25) == "−0.50 to 0.25"
    assert interval(None, 1.0) == ""


def test_a_dash_never_meets_a_minus():
    assert interval(-0.73, -0.71, "–") == "−0.730 to −0.710"
    assert interval(0.25, 0.5, "–") == "0.25–0.50"


def test_a_gain_has_a_plus():
    assert (signed(0.31, 0.1, 0.5), signed(-0.31, -0.5, -0.1), signed(0.0, 0, 10)) == ("+0.31", "−0.31", "0")


def test_what_is_rare_is_not_nothing():
    words = [percent(share).replace("\u00a0", " ") for share in (0.0, 0.001, 0.5, 0.999, 1.0)]

    assert words == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]


def test_a_p_value_is_never_zero():
    assert p_value(0.0).replace("\u00a0", " ") == "p < 0.001"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("simenv run /home/a/b.yaml --out /tmp/x", "simenv run b.yaml --out x"),
        ("--out=~/runs/x", "--out=x"),
        ("../data/ml", "ml"),
        ("films and/or series, 24/7", "films and/or series, 24/7"),
        ("at http://host:80/v1", "at (address left out)"),
        ("simenv run quickstart", "simenv run quickstart"),
    ],
)
def test_a_path_is_cut_to_its_last_part(text: str, kept: str):
    assert without_paths(text) == kept


def test_a_p_value_at_the_floor_of_its_test_is_only_known_to_be_no_larger():
    assert p_value(0.002).replace("\u00a0", " ") == "p = 0.002"
    assert p_value(0.002, at_floor=True).replace("\u00a0", " ") == "p ≤ 0.002"
