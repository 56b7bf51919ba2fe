"""The report of a run is whole, honest and safe to hand on."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from simenv.errors import RunError
from simenv.metrics import HEADLINE, measure
from simenv.reports.report import report, write_report
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]
OPEN_ENDED = {"meta", "link", "br", "img", "hr", "input"}


class Tags(HTMLParser):
    """Collects a page's elements and holds that each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.still_open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in OPEN_ENDED:
            self.still_open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.still_open.pop() == tag


def drawings(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_a_report_stands_in_the_runs_folder(run: RunDir):
    assert write_report(run) == run.folder / "report.html"
    assert (run.folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_run_gives_the_same_report_twice(run: RunDir):
    assert report(run) == report(RunDir.open(run.folder))


def test_a_report_fetches_nothing(run: RunDir):
    page = report(run)

    assert not re.search(r"https?://|url\(|@import", page)
    assert not any({"src", "href"} & set(attributes) for _, attributes in Tags(page).found)


def test_every_element_is_closed(run: RunDir):
    assert Tags(report(run)).still_open == []


def test_what_users_wrote_cannot_become_markup(make_run: MakeRun):
    evil = "<script>alert('x')</script>"
    run = make_run(question=f'Is {evil} & "this" safe?', scenario=evil, command=f"simenv run '{evil}'")

    page = report(run)

    assert evil not in page
    assert "&lt;script&gt;" in page
    assert "script" not in [tag for tag, _ in Tags(page).found]


def test_a_cause_of_exit_cannot_become_markup(make_run: MakeRun):
    assert "<b>bored" not in report(make_run(cause="<b>bored"))


def test_paths_and_addresses_stay_at_home(make_run: MakeRun):
    run = make_run(
        command="simenv run /home/ada/plays/small.yaml --out=/srv/runs/a --cache ~/cache/x C:\\Users\\ada\\b",
        population={"name": "llm", "about": "", "options": {"base_url": "http://gpu-7.lab:8000/v1"}},
    )

    page = report(run)

    for secret in ("/home", "/srv", "ada", "~/", "gpu-7", str(run.folder)):
        assert secret not in page
    assert "small.yaml" in page


def test_every_drawing_is_well_formed_and_told_in_words(run: RunDir):
    plots = [svg for svg in drawings(report(run)) if svg.get("role") == "img"]

    assert len(plots) == 5
    for svg in plots:
        assert [child.tag for child in svg][:2] == ["title", "desc"]
        assert all(child.text for child in list(svg)[:2])


def test_no_drawing_holds_a_number_that_is_none(make_run: MakeRun):
    assert not re.search(r'="(nan|inf|-inf|None)"', report(make_run({"mf": 0.0, "random": 0.0}, width=0.0)))


def test_users_who_were_not_checked_are_said_to_be_so(run: RunDir):
    page = report(run)

    assert "fidelity: not measured" in page
    assert "not been checked against real ones" in page


def test_a_missing_fidelity_counts_as_not_measured(make_run: MakeRun):
    assert "fidelity: not measured" in report(make_run(fidelity=None))


def test_failed_fidelity_stands_before_the_sentence(make_run: MakeRun):
    page = report(make_run(fidelity={"verdict": "fail", "note": "AUC 0.51"}))

    assert page.index('class="note red loud"') < page.index('class="sentence"')
    assert "AUC 0.51" in page


@pytest.mark.parametrize("status", ["running", "failed", "stopped", "odd"])
def test_a_run_that_is_not_complete_says_so_first(make_run: MakeRun, status: str):
    page = report(make_run(status=status))

    assert page.index(f"run: {status}") < page.index('class="sentence"')


def test_a_complete_run_has_no_alarm(run: RunDir):
    assert 'role="alert"' not in report(run)


def test_one_policy_makes_a_report(make_run: MakeRun):
    page = report(make_run({"mf": 3.0}))

    assert "ran alone" in page
    assert "Who is better off" not in page
    assert ">best<" not in page


def test_twelve_policies_make_a_report_of_bounded_size(make_run: MakeRun):
    page = report(make_run({f"policy-number-{number}": number / 2 for number in range(12)}))

    assert len(page.encode()) < 400_000
    assert len([svg for svg in drawings(page) if svg.get("role") == "img"]) == 5


def test_a_small_run_stays_small(run: RunDir):
    assert len(report(run).encode()) < 100_000


def test_metrics_that_could_not_be_told_are_dashes(make_run: MakeRun):
    run = make_run()
    nothing: dict[str, Any] = {"mean": None, "low": None, "high": None, "n": 0}
    row = dict.fromkeys(("P_view", "N_like", "S_sat", "coverage"), nothing)
    run.write_json("metrics.json", dict.fromkeys(("mf", "popular", "random"), row))
    run.write_json("comparisons.json", [])

    page = report(run)

    assert "No policy can be named" in page
    assert "—" in page


def test_a_run_without_held_out_rows_has_no_offline_table(make_run: MakeRun):
    assert "Offline" not in report(make_run(offline=False))


def test_a_bound_is_marked_and_never_best(make_run: MakeRun):
    page = report(make_run({"oracle": 9.0, "mf": 4.0, "random": 1.0}))

    row = page[page.index('<tr class="bound-row">') :].partition("</tr>")[0]
    assert "oracle" in row
    assert "best" not in row


def test_a_manifest_with_next_to_nothing_in_it_is_enough(run: RunDir):
    run.write_json("manifest.json", {"policies": []})

    page = report(RunDir.open(run.folder))

    assert "run: unknown" in page
    assert "fidelity: not measured" in page


def test_places_left_empty_are_owned_up_to(make_run: MakeRun):
    page = report(make_run(empty_places={"mf": 1200, "random": 0}))

    assert "mf left 1,200 places of its pages empty." in page


def test_a_run_without_metrics_says_what_would_write_them(run: RunDir):
    (run.folder / "metrics.json").unlink()

    with pytest.raises(RunError, match="rescore"):
        report(run)


def test_what_is_corrected_together_is_said_as_it_was_computed(run: RunDir):
    assert "corrected (Holm) for all pairs and metrics of a kind together: of sessions, of lists, offline" in report(
        run
    )
    rows = measure(run).comparisons
    of_sessions = [row for row in rows if row["metric"] in HEADLINE]
    assert len(of_sessions) > len(HEADLINE)
    chances = np.array([row["p"] for row in of_sessions])
    order = np.argsort(chances)  # Holm by hand: the k-th least of n times n - k, and never less than one before
    steps = np.maximum.accumulate(np.minimum(chances[order] * (len(chances) - np.arange(len(chances))), 1.0))
    assert [of_sessions[place]["p_holm"] for place in order] == pytest.approx(steps.tolist())
