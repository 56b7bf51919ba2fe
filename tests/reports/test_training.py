"""The report on a training says what is known, and of what isn't that it is not."""

from typing import Any

from simenv.reports.training import figures, sentence, sheets

SURE = {"mean": 0.5, "low": 0.4, "high": 0.6}
UNKNOWN = {"mean": None, "low": None, "high": None}
ALIKE = {"mean": 0.0, "low": -0.1, "high": 0.1}


def training(held_out: dict[str, Any], users: dict[str, Any] = SURE) -> list[dict[str, Any]]:
    """Return two stages after which these figures were found."""
    gained = ALIKE if held_out["mean"] is not None else UNKNOWN
    pages = {metric: {**users, "gained": ALIKE} for metric in ("grade", "S_sat")}
    told = {"held_out": {"recall@10": {**held_out, "gained": gained}}, "taught": pages, "judged": pages}
    return [{"name": name, "source": "training rows", **told} for name in ("sft", "own")]


def test_without_test_rows_no_plot_and_no_word_tells_of_them():
    stages = training(UNKNOWN)
    assert [figure.title for figure in figures(stages)] == [
        "grade: its teachers",
        "grade: its judges",
        "satisfaction: its teachers",
    ]
    assert "no test rows" in sentence(stages)
    assert sheets(stages)[0].rows[0].cells[0].value == "—"


def test_what_cannot_be_told_apart_is_said_plainly():
    assert sentence(training(SURE)).endswith("and it finds about as many of the held-out items.")


def test_a_single_user_has_a_dot_and_no_empty_brackets():
    for figure in figures(training(SURE, {"mean": 2.0, "low": None, "high": None})):
        assert "()" not in figure.drawing
