"""The report on a training says how large a change is, who says so, and what came of each stage."""

import re
from typing import Any

import numpy as np
import pytest

from simenv.intervals import differences
from simenv.reports.training import change_rows, figures, sentence, sheets, thrown_away, training_report
from simenv.scenarios.grading import changes, correct, stage_figures

USERS = 400
GRADERS = ("teachers", "judges")
METRICS = ("grade", "N_like")


def grades(seed: int, **moved: float) -> dict[str, dict[str, np.ndarray]]:
    """Return figures of users, those of who is named moved by so much."""
    rng = np.random.default_rng(seed)
    recall = (rng.random(USERS) < 0.3).astype(float)
    made: dict[str, dict[str, np.ndarray]] = {"held_out": {"recall@10": recall}}
    for who in ("teachers", "judges", "truth"):
        made[who] = {metric: rng.normal(2.0, 0.1, USERS) + moved.get(who, 0.0) for metric in METRICS}
    return made


def training(last: dict[str, Any], *, graders: tuple[str, ...] = GRADERS, **stage: Any) -> dict[str, Any]:
    """Return what a training of two stages tells when the last one was graded so."""
    first, beside = grades(0), {"pop": grades(2), "ease": grades(3)}
    first, last, *others = (
        {who: some[who] for who in ("held_out", *graders)} for some in (first, last, *beside.values())
    )
    about = {
        "source": "simulated",
        "objective": "listwise",
        "prompts": 9,
        "candidates": 90,
        "chosen": [0, 1],
        "kept": 1,
    }
    stages = [
        {"name": "sft", "source": "training rows", **stage_figures(first, first)},
        {"name": "told", **about, **stage, **stage_figures(last, first)},
    ]
    correct(stages, ["held_out", *graders])
    rivals = dict(zip(beside, others, strict=True))
    return {
        "name": "mine",
        "question": "Better?",
        "data": "films",
        "split": "leave one out",
        "users": USERS,
        "population": {"name": "choice"},
        "judges": {"name": "voters"},
        "graders": ["held_out", *graders],
        "seeds": {"teaching": {"told": [5]}, "grading": {who: [6] for who in graders}},
        "trust": {who: {} for who in graders},
        "stages": stages,
        "beside": {label: stage_figures(some, first) for label, some in rivals.items()},
        "changes": changes(first, last, rivals),
    }


def test_the_verdict_tells_the_size_with_an_interval_corrected_for_all_that_is_compared():
    first, last = grades(0), grades(1, judges=0.05)
    told = training(last)
    assert len(told["changes"]) == 5  # recall, and the grade and likes of two kinds of users
    one = next(one for one in told["changes"] if (one["who"], one["metric"]) == ("judges", "grade"))
    column = (last["judges"]["grade"] - first["judges"]["grade"])[:, None]
    wide = differences(column, level=1 - 0.05 / 5)[0]
    assert (one["change"]["low"], one["change"]["high"]) == pytest.approx((wide.low, wide.high))
    spread = column.std(ddof=1) / np.sqrt(USERS)  # by the normal law, independently: z of .995
    assert wide.high - wide.low == pytest.approx(2 * 2.5758 * spread, rel=0.08)
    assert f"Its judges grade its pages higher, by {wide.mean:.3f} [" in sentence(told)
    assert "Intervals hold for all 5 differences at once." in sentence(told)


def test_what_cannot_be_told_apart_is_said_with_its_size():
    words = sentence(training(grades(1)))
    assert "Its judges grade its pages no differently that can be told (" in words
    assert "It finds no other number that can be told of the held-out items" in words


def test_the_true_users_judge_where_there_are_any():
    told = training(grades(1, truth=-0.05, judges=0.05), graders=(*GRADERS, "truth"))
    assert sentence(told).startswith("The true users grade its pages lower, by 0.0")
    assert any(row["name"] == "likes, the true users" for row in change_rows(told))


def test_a_policy_that_pleases_its_teachers_alone_is_called_so():
    assert "it may have learnt to please them" in sentence(training(grades(1, teachers=0.05)))
    assert "please" not in sentence(training(grades(1, teachers=0.05, judges=0.05)))


@pytest.mark.parametrize("kept", [0, 1])
def test_a_stage_that_was_thrown_away_is_told_as_such_in_the_verdict(kept):
    told = training(grades(1), kept=kept)
    words = "The stage told was thrown away, for validation rows lost too much: nothing of any stage is left"
    assert (words in sentence(told)) == (not kept)
    assert bool(thrown_away(told["stages"])) == (not kept)
    assert (words in training_report(told)) == (not kept)


def test_popularity_and_ease_stand_beside():
    told = training(grades(1))
    assert "(beside: pop 0." in sentence(told)
    assert [row.name for row in sheets(told)[1].rows] == ["sft", "told", "pop, beside", "ease, beside"]
    assert all(len(row["beside"]) == 2 for row in change_rows(told))
    page = training_report(told)
    assert "pop, beside" in page
    assert "seeds that taught" in page


def test_chance_alone_is_rarely_coloured():
    """Of trainings that changed nothing one in twenty at most says otherwise of any figure."""
    told = [training(grades(seed)) for seed in range(10, 60)]
    wrong = sum(any(row["tone"] for row in change_rows(one)) for one in told)
    assert wrong <= 7  # 50 with .05: more than 7 in one of a hundred
    marked = sum(
        any(cell.tone for row in sheet.rows for cell in row.cells) for one in told for sheet in sheets(one)[1:2]
    )
    assert marked <= 7


def test_without_test_rows_no_plot_and_no_word_tells_of_them():
    last, none = grades(1), np.full(USERS, np.nan)
    first = grades(0)
    for some in (first, last):
        some["held_out"] = {"recall@10": none}
    told = training(grades(1))
    told["stages"] = [
        {**stage, **stage_figures({who: some[who] for who in ("held_out", *GRADERS)}, first)}
        for stage, some in zip(told["stages"], (first, last), strict=True)
    ]
    told["beside"] = {}
    correct(told["stages"], told["graders"])
    told["changes"] = changes(*({who: some[who] for who in ("held_out", *GRADERS)} for some in (first, last)), {})
    assert "recall@10: held-out rows" not in [figure.title for figure in figures(told)]
    assert "No test rows" in sentence(told)
    assert sheets(told)[0].rows[0].cells[0].value == "—"


def test_a_single_user_has_a_dot_and_no_empty_brackets():
    told = training(grades(1))
    for stage in (*told["stages"], *told["beside"].values()):
        for who in GRADERS:
            stage[who]["grade"] |= {"mean": 2.0, "low": None, "high": None}
    for figure in figures(told):
        assert "()" not in figure.drawing


def test_stages_that_nobody_graded_stand_in_no_table():
    told = training(grades(1))
    told["stages"].insert(1, {"name": "between", "source": "self-play", "objective": "listwise", "kept": 0})
    assert [row.name for row in sheets(told)[0].rows][:2] == ["sft", "told"]


def test_with_one_stage_there_is_nothing_to_tell():
    assert "nothing to hold it against" in sentence({"changes": [], "stages": []})


def test_what_is_said_to_be_coloured_is():
    page = training_report(training(grades(1, judges=0.5, teachers=-0.5)))
    style, _, body = page.partition("</style>")
    assert {"chip good", "chip red"} <= set(re.findall(r'class="(chip \w+)"', body))
    for tone in ("good", "red"):
        assert re.search(rf"\.{tone} {{ background: [^}}]+ color:", style)
    drawn = set(re.findall(r'class="(?:curve|dot) (\w+)"', body))
    assert drawn == {"c0", "c1", "c2"}  # the policy that is trained, pop and EASE


def test_what_stands_beside_has_one_colour_in_plots_and_tables():
    page = training_report(training(grades(1)))
    for name, ink in (("pop, beside", "c1"), ("ease, beside", "c2"), ("sft", "c0")):
        assert set(re.findall(rf'<i class="key (\w+)"></i>{name}<', page)) == {ink}
    for name, ink in (("pop", "c1"), ("ease", "c2"), ("sft", "c0")):
        (row,) = set(
            re.findall(rf'class="name" text-anchor="end">{name}</text><polyline[^>]*class="curve (\w+)"', page)
        )
        assert row == ink
