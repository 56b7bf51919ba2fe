"""What the battery found stands in the terminal and in the report, and a failure cannot be overlooked."""

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from simenv.reports.compare import compare_runs, comparison_markdown
from simenv.reports.fidelity import fidelity_line, fidelity_of, fidelity_table
from simenv.reports.report import report
from simenv.reports.terminal import policy_table
from simenv.reports.verdict import verdict
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]


def figure(name: str, mean: float | None, word: str) -> dict[str, Any]:
    return {"name": name, "mean": mean, "low": mean, "high": mean, "n": 12, "verdict": word, "rule": "at least 0.6"}


FOUND = {
    "verdict": "fail",
    "note": "fail: taste (AUC 0.5); 1 of 3 tests passed.",
    "users": 12,
    "asked": 3400,
    "seconds": 1.5,
    "on": "2026-01-02 03:04",
    "tests": [
        {
            "test": "taste",
            "question": "Do they want what real users chose?",
            "verdict": "fail",
            "note": "AUC 0.5 <b>",
            "figures": [figure("AUC for each user", 0.5, "fail"), figure("told only", 0.25, "")],
            "tables": [{"title": "By ratio", "heads": ["ratio", "F1"], "rows": [["1:1", 0.666], ["1:9", None]]}],
        },
        {"test": "dose", "question": "", "verdict": "pass", "note": "falls", "figures": [], "tables": []},
        {"test": "cues", "question": "", "verdict": "not measured", "note": "no texts", "figures": [], "tables": []},
    ],
}


@pytest.fixture
def failed(make_run: MakeRun) -> RunDir:
    run = make_run(fidelity={"verdict": "fail", "note": FOUND["note"]})
    run.write_json("fidelity.json", FOUND)
    return run


def printed(what: object, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_a_table_of_any_width_tells_each_test_and_figure(width: int):
    words = printed(fidelity_table(FOUND, width), width)

    assert max(map(len, words.splitlines())) <= width
    for word in ("taste", "dose", "cues", "fail", "pass", "AUC for each user", "0.500", "no texts"):
        assert word in words
    assert "told only" not in words
    assert ("at least 0.6" in words) is (width >= 110)


def test_the_line_says_the_verdict_first():
    assert fidelity_line(FOUND).plain.startswith("fidelity: fail. fail: taste")


@pytest.mark.parametrize("width", [70, 160])
def test_the_printed_verdict_says_where_the_world_is_made(width: int):
    made = FOUND | {"is_synthetic": True}

    line, told = (
        " ".join(fidelity_line(made).plain.split()),
        " ".join(printed(fidelity_table(made, width), width).split()),
    )

    assert "users and rows of this data set are made, so no check here was against real users" in line
    assert "of a made world, against its made rows" in told
    assert "made" not in fidelity_line(FOUND).plain + printed(fidelity_table(FOUND, width), width)


def test_the_report_has_a_section_that_escapes_what_it_says(failed: RunDir):
    page = report(failed)

    assert "Are these users like real ones?" in page
    assert "AUC 0.5 &lt;b&gt;" in page
    assert "0.666" in page
    assert "on 2026-01-02 03:04 UTC" in page


def test_a_ranking_by_users_who_failed_is_marked_wherever_it_stands(failed: RunDir, make_run: MakeRun):
    assert "not to be acted on" in printed(policy_table(failed, 100), 100)
    assert "not to be acted on" in report(failed)
    found = verdict(failed)
    assert found.leader is None
    assert found.sentence.endswith("do not act on it.")
    compared = compare_runs(failed, make_run(folder="later"))
    assert any("the users of run failed" in warning for warning in compared.warnings)
    assert "**Warning:** the users of run failed" in comparison_markdown(compared)


def test_a_ranking_by_users_who_passed_is_not(make_run: MakeRun):
    run = make_run(fidelity={"verdict": "pass", "note": "8 of 8 tests passed."})

    assert "not to be acted on" not in printed(policy_table(run, 100), 100) + report(run)
    assert verdict(run).leader == "mf"


def test_a_run_without_a_battery_has_no_section(run: RunDir):
    assert fidelity_of(run) is None
    assert "Are these users like real ones?" not in report(run)


@pytest.mark.parametrize("content", ["{", "[]", '{"tests": 3}'])
def test_a_damaged_file_leaves_the_section_out(run: RunDir, content: str):
    (run.folder / "fidelity.json").write_text(content, encoding="utf-8")

    assert fidelity_of(run) is None
    assert "Are these users like real ones?" not in report(run)
