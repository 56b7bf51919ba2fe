"""Names find room in plots and tables, and stay apart; no words of a plot stand outside of it."""

import random
import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from simenv.reports.labels import BOLD, CUT, NAME, TICK, fits, lines_of, set_beside, short_names, text_width
from simenv.reports.report import report
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]
LONG = ["item-knn-with-many-neighbours-100", "item-knn-with-many-neighbours-20", "sequential-transformer-v2.1-large"]


def test_names_that_differ_at_the_end_stay_apart():
    short = short_names(LONG, lambda name: len(name) <= 16)

    assert short[LONG[0]] == "item-knn…urs-100"
    assert short[LONG[1]] == "item-knn…ours-20"


def test_names_that_have_room_are_as_they_are():
    assert short_names(["pop", "ease"], lambda name: len(name) <= 4) == {"pop": "pop", "ease": "ease"}


@pytest.mark.parametrize("seed", range(20))
def test_short_names_fit_and_differ(seed: int):
    rng = random.Random(seed)
    stem = "".join(rng.choices("abWi-_.", k=40))
    names = []
    for _ in range(12):  # one letter of a long stem is another, wherever it stands
        place = rng.randrange(40)
        names.append(stem[:place] + rng.choice("xyz") + stem[place + 1 :])
    names = list(dict.fromkeys(names))

    short = short_names(names, fits(92.0))

    assert len(set(short.values())) == len(names)
    assert all(text_width(name, NAME) <= 92 for name in short.values())


def test_a_name_is_parted_at_a_mark_before_it_is_cut():
    assert lines_of("item-knn-neighbours-100", 120) == ["item-knn-", "neighbours-100"]
    assert set_beside(["x" * 50], 95)["x" * 50][0].count(CUT) == 1


def outside(svg: ElementTree.Element) -> list[str]:
    """Return the words that reach out of a drawing at the largest sizes that the style sheet gives them."""
    width = float(svg.get("viewBox", "").split()[2])
    found = []
    for text in svg.iter("text"):
        lines = list(text.iter("tspan")) or [text]
        kind = text.get("class", "")
        size = NAME if kind == "name" else TICK * (BOLD if kind in ("on", "dark") else 1)
        for line in lines:
            words = "".join([line.text or "", *(part.tail or "" for part in line)])
            size_of = text_width(words, size)
            begin = (
                float(line.get("x", "0")) - {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "")] * size_of
            )
            if begin < -0.1 or begin + size_of > width + 0.1:
                found.append(words)
    return found


@pytest.mark.parametrize("names", [["mf", "popular", "random"], LONG, ["W" * 60, "W" * 59 + "V", "w"]])
def test_no_words_of_a_plot_stand_outside_of_it(make_run: MakeRun, names: list[str]):
    run = make_run(dict(zip(names, [4.0, 3.0, 1.0], strict=True)))

    drawn = [ElementTree.fromstring(text) for text in re.findall(r"<svg (?!.*?gauge).*?</svg>", report(run))]

    assert len(drawn) >= 5
    for svg in drawn:
        assert not outside(svg), svg.get("aria-labelledby")


def test_the_sizes_are_those_of_the_style_sheet(run: RunDir):
    style = report(run).partition("</style>")[0]

    names, rest = (
        re.findall(r"svg \.name { font-size: ([\d.]+)px", style),
        re.findall(r"svg (?:text|\.title|text, svg \.title) { font-size: ([\d.]+)px", style),
    )
    assert max(map(float, names)) == NAME
    assert max(map(float, rest)) == TICK
    for size in (12.0, 13.0):
        assert text_width("median +0.5", size) > text_width("median +0.5", size - 1)


def test_names_in_two_lines_do_not_touch_those_of_the_next_row(make_run: MakeRun):
    page = report(make_run(dict(zip(LONG, [4.0, 3.0, 1.0], strict=True))))

    (drawn,) = re.findall(r'<svg (?=[^>]*aria-labelledby="exits).*?</svg>', page)
    lines = [float(line.get("y", "0")) for line in ElementTree.fromstring(drawn).iter("tspan")]
    assert len(lines) >= 4
    assert min(after - before for before, after in pairwise(lines)) >= 11
