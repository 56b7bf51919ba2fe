"""A terminal of any width shows a table that can be read, with its trust beside it."""

from collections.abc import Callable

import pytest
from rich.console import Console
from rich.table import Table

from simenv.reports.terminal import policy_table, verdict_lines
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]


def printed(table: Table, width: int) -> str:
    console = Console(width=width, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_table_fits_its_terminal_and_cuts_no_number(make_run: MakeRun, width: int):
    run = make_run({"a-policy-with-a-long-name": 4.0, "mf": 3.0, "oracle": 9.0})

    words = printed(policy_table(run, width), width)

    assert max(map(len, words.splitlines())) <= width
    assert "N_like" in words
    assert "3.00" in words
    assert "2.90–3.10" in words


def test_a_narrow_table_names_what_it_leaves_out(run: RunDir):
    assert "not shown here" in printed(policy_table(run, 60), 60)
    assert "not shown here" not in printed(policy_table(run, 140), 140)


def test_no_table_comes_without_its_fidelity(run: RunDir):
    assert "fidelity: not measured" in printed(policy_table(run, 60), 60)


def test_the_best_contestant_is_marked_and_the_oracle_is_not(make_run: MakeRun):
    words = printed(policy_table(make_run({"oracle": 9.0, "mf": 4.0, "random": 1.0}), 140), 140)

    assert "*4.00" in words
    assert "*9.00" not in words


def test_a_verdict_is_a_sentence_and_its_trust(run: RunDir):
    sentence, fidelity = verdict_lines(run)

    assert sentence.startswith("mf leads")
    assert "not measured" in fidelity


def test_failed_fidelity_is_printed_first(make_run: MakeRun):
    first, second, sentence = verdict_lines(make_run(status="stopped", fidelity={"verdict": "fail"}))

    assert "run: stopped" in first
    assert "fidelity: fail" in second
    assert "leads" in sentence


def test_long_names_that_differ_at_the_end_stay_apart(make_run: MakeRun):
    run = make_run({"item-knn-with-neighbours-100": 4.0, "item-knn-with-neighbours-20": 3.0})

    words = printed(policy_table(run, 80), 80)

    assert "item-knn…urs-100" in words
    assert "item-knn…ours-20" in words
