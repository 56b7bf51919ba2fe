"""Two runs are compared on what they share, and what else differs is said."""

from collections.abc import Callable

import pytest
from rich.console import Console

from simenv.errors import RunError
from simenv.reports.compare import compare_runs, comparison_markdown, comparison_table, settings_of
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]


def test_a_change_is_the_other_run_minus_the_one(make_run: MakeRun):
    comparison = compare_runs(
        make_run({"mf": 2.0, "random": 1.0}), make_run({"mf": 3.0, "random": 1.0}, folder="later")
    )

    first = comparison.changes[0]
    assert (first.policy, first.metric, first.one, first.other) == ("mf", "N_like", 2.0, 3.0)
    assert first.difference.mean == pytest.approx(1.0)
    assert first.holds
    still = next(c for c in comparison.changes if c.policy == "random" and c.metric == "N_like")
    assert not still.holds


def test_only_shared_users_count(make_run: MakeRun):
    comparison = compare_runs(make_run(users=range(8)), make_run(folder="later", users=range(4, 12)))

    assert comparison.users == 4
    assert {change.difference.n for change in comparison.changes} == {4}


def test_runs_without_a_common_policy_are_refused(make_run: MakeRun):
    with pytest.raises(RunError, match="no policy in common"):
        compare_runs(make_run({"mf": 2.0}), make_run({"popular": 2.0}, folder="later"))


def test_runs_without_a_common_user_are_refused(make_run: MakeRun):
    with pytest.raises(RunError, match="no user in common"):
        compare_runs(make_run(users=range(6)), make_run(folder="later", users=range(6, 12)))


def test_like_runs_need_no_warning(make_run: MakeRun):
    comparison = compare_runs(make_run(), make_run(folder="later", seconds={"run": 99.0}))

    assert not comparison.warnings
    assert not comparison.settings


def test_other_data_pages_or_users_are_warned_of(make_run: MakeRun):
    later = make_run(folder="later", dataset={"name": "hand-made", "fingerprint": "zzz"}, page_size=5)

    with pytest.raises(RunError, match="the data differ"):
        compare_runs(make_run(), later)
    (warning,) = (comparison := compare_runs(make_run(), later, force=True)).warnings
    assert "the data differ" in warning
    assert "the page size differs" in warning
    assert "not due to the policies alone" in warning
    assert ("page_size", "4", "5") in [(s.name, s.one, s.other) for s in comparison.settings]


def test_another_population_is_warned_of(make_run: MakeRun):
    later = make_run(folder="later", population={"name": "scripted", "options": {"patience": 9}})

    assert "the population differs" in compare_runs(make_run(), later).warnings[0]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"leave_out_past": False}, "items of the past"),
        ({"leave_out_shown": False}, "earlier pages"),
        ({"seeds": [5]}, "the seeds differ"),
        ({"versions": {"numpy": "1.0"}}, "the versions differ"),
        ({"a_setting_of_tomorrow": {"rate": 2}}, "a_setting_of_tomorrow.rate differs"),
    ],
)
def test_any_setting_that_could_explain_a_difference_is_warned_of(make_run: MakeRun, setting: dict, says: str):
    (warning,) = compare_runs(make_run(), make_run(folder="later", **setting)).warnings
    assert says in warning
    assert "not due to the policies alone" in warning


def test_what_a_run_left_or_is_called_is_no_reason(make_run: MakeRun):
    later = make_run(folder="later", scenario="another", offline=10, empty_places={"mf": 3})
    assert not compare_runs(make_run(), later).warnings
    left = {"rows": {"events": 9}, "answered_by": {"a_model": False}}
    assert not settings_of(left, {"rows": {"events": 12}})


def test_changes_are_corrected_for_all_metrics_together(make_run: MakeRun):
    changes = compare_runs(
        make_run({"mf": 2.0, "random": 1.0}), make_run({"mf": 3.0, "random": 1.0}, folder="x")
    ).changes
    least = min(change.difference.p for change in changes)
    assert min(change.p_holm for change in changes) == pytest.approx(min(1.0, least * len(changes)))


def test_both_fidelities_stand_beside_the_changes(make_run: MakeRun):
    comparison = compare_runs(make_run(), make_run(folder="later", fidelity={"verdict": "fail"}))

    console = Console(width=120)
    with console.capture() as capture:
        console.print(comparison_table(comparison))
    for words in (capture.get(), comparison_markdown(comparison)):
        assert "run: fidelity: not measured" in words
        assert "later: fidelity: fail" in words


def test_a_markdown_table_keeps_its_columns(make_run: MakeRun):
    words = comparison_markdown(compare_runs(make_run(), make_run(folder="later", page_size=5)))

    for table in words.split("\n\n"):
        rows = [row for row in table.splitlines() if row.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1
