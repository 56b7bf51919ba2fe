"""Colours mean the same in every plot and table of a report, and whatever is said to be coloured is."""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simenv.reports.exits import STAYED, TONES, UNNAMED, cause_tones
from simenv.reports.report import report
from simenv.reports.standings import standings
from simenv.reports.svg import inks
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]
COLOUR = re.compile(r"\bc\d\b")


def svgs(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.S)]


def colours_of(page: str) -> dict[str, set[str]]:
    """Return the colour classes with which each policy is drawn: by swatches, by notes to hover over, by threads."""
    found: dict[str, set[str]] = {}
    for classes, name in re.findall(r'<i class="((?:key|full) [^"]*)"></i>([\w.-]+|better off with [\w.-]+)', page):
        found.setdefault(name.removeprefix("better off with "), set()).update(COLOUR.findall(classes))
    for svg in svgs(page):
        for shape in svg.iter():
            note = shape.find("title")
            if note is not None and shape.tag in ("circle", "rect") and note.text:
                name = note.text.partition(",")[0]
                found.setdefault(name, set()).update(COLOUR.findall(shape.get("class", "")))
        threads = list(svg)
        for shape, after in itertools.pairwise(threads):
            if "thread" in shape.get("class", "").split():
                found.setdefault(after.text or "", set()).update(COLOUR.findall(shape.get("class", "")))
    return found


def with_verdicts(run: RunDir) -> RunDir:
    """Return the run with a verdict after each session, the more the fewer likes its policy brings."""
    for path in (run.folder / "pages").iterdir():
        table = pq.read_table(path)
        verdict = {"random": 9.0, "popular": 5.0, "mf": 2.0}[table["policy"][0].as_py()]
        for name, value in (("verdict", verdict), ("reading", "plain")):
            table = table.append_column(name, pa.array([value] * len(table)))
        pq.write_table(table, path)
    return RunDir.open(run.folder)


def test_a_policy_has_one_colour_in_all_plots_and_tables(make_run: MakeRun):
    run = with_verdicts(make_run({"random": 1.0, "mf": 4.0, "popular": 3.0}))

    page = report(run)
    found = colours_of(page)

    assert "What they said of it afterwards" in page
    for place, policy in enumerate(("random", "mf", "popular")):
        assert found[policy] == {f"c{place}"}, policy


def test_colours_follow_the_order_of_the_run_and_not_its_figures(make_run: MakeRun):
    one = make_run({"a": 1.0, "b": 4.0, "c": 3.0}, folder="one")
    other = make_run({"a": 4.0, "b": 3.0, "c": 1.0}, folder="other")

    plain = [{name: ink.split()[0] for name, ink in inks(standings(run)).items()} for run in (one, other)]

    assert plain[0] == plain[1] == {"a": "c0", "b": "c1", "c": "c2"}


def test_no_two_policies_look_alike(make_run: MakeRun):
    run = make_run({f"policy-{number}": number / 4 for number in range(17)} | {"oracle": 5.0, "anti-oracle": 0.0})

    drawn = [ink.removesuffix(" lead") for ink in inks(standings(run)).values()]

    assert len(set(drawn)) == 19


def test_causes_have_their_colours_by_name():
    often = {"mf": Counter({"tired": 9, "bored": 1, "called away": 3}), "pop": Counter({"disappointed": 2})}
    rarely = {"mf": Counter({"tired": 1, "bored": 9, STAYED: 2, UNNAMED: 1})}

    one, other = cause_tones(often), cause_tones(rarely)

    assert all(TONES[cause] == tone for cause, tone in [*one.items(), *other.items()])
    assert list(one) == ["tired", "bored", "disappointed", "called away"]
    assert list(other)[-1] == STAYED


def test_causes_of_other_populations_have_colours_of_their_own():
    found = {"mf": Counter({f"cause {number}": 10 - number for number in range(8)} | {"tired": 1})}

    tones = cause_tones(found)

    assert len(set(tones.values())) == len(tones) == 6
    assert tones["other causes"] == TONES["other causes"]


def test_colours_of_causes_are_no_policys(run: RunDir):
    page = report(run)

    policies = set(re.findall(r"--c\d: (#\w+);", page))
    causes = re.findall(r"\.left-\w+ { fill: (#\w+);", page)
    assert len(policies) == 14  # seven in light, seven in dark
    assert len(causes) == len(set(causes)) == 10
    assert not policies & set(causes)


def test_all_that_marks_a_shape_or_word_is_styled(make_run: MakeRun):
    page = report(with_verdicts(make_run({"random": 1.0, "mf": 4.0, "popular": 3.0})))
    style, _, body = page.partition("</style>")

    used = {name for words in re.findall(r'class="([^"]*)"', body) for name in words.split()}
    plain = {"visit", "passed", "tick"}  # as the rest; the name serves other rules
    unknown = {name for name in used - plain if not re.search(rf"\.{re.escape(name)}\b", style)}
    assert not {name for name in unknown if not re.fullmatch(r"[dbt]\d+|by-\d+|of-\d+", name)}


@pytest.mark.parametrize("tone", ["good", "red"])
def test_tones_are_coloured(run: RunDir, tone: str):
    assert re.search(rf"\.{tone} {{ background: [^}}]+ color:", report(run))
