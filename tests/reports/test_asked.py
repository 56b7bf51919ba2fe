"""Of users who were asked in words a report tells who they are, how they were read, and what they said."""

import inspect
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from simenv.agents.llm import LLMPopulation
from simenv.chat.model import Answer
from simenv.chat.record import Record
from simenv.chat.spending import Ledger
from simenv.intervals import means
from simenv.reports.asked import MOST_FAILED, readings, who
from simenv.reports.interviews import interviews
from simenv.reports.quotes import spoken
from simenv.reports.report import report
from simenv.reports.standings import standings
from simenv.reports.terminal import verdict_lines
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]
KINDS = ("plain", "plain", "plain", "mended", "repaired")
MODEL = {"model": "small-8b", "temperature": 0.7, "extra": {}}
STAND_IN = {"kind": "scripted", "seed": 0, "rules": 1}
HEADINGS = ("The users, asked in words", "What they said after leaving", "In their own words")


class Names(HTMLParser):
    """Collects the names of a page's elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.found.append(tag)


@pytest.fixture
def asked(make_run: MakeRun) -> MakeRun:
    """Return a maker of runs whose users were asked in words; say what they say, and how it was read."""

    def make(
        words: str = "Enough for today.", kinds: Sequence[str] = KINDS, model: dict[str, Any] = MODEL, **told: Any
    ) -> RunDir:
        population = {"name": "llm", "options": told.pop("options", {}), "model": model, "prompts": "9ed02"}
        run = make_run(population=population, **told)
        for path in sorted((run.folder / "pages").iterdir()):
            table = pq.read_table(path).drop_columns("words")
            rows = range(len(table))
            verdicts = [1 + row["user_id"] % 10 if row["exit"] else None for row in table.to_pylist()]
            records = [f'[[{page}, "feeling", "{words} I think", 0.5]]' for page in table["page"].to_pylist()]
            news = {
                "words": [words] * len(table),
                "reading": [kinds[row % len(kinds)] for row in rows],
                "remembered": records,
                "verdict": pa.array(verdicts, pa.float64()),
                "asked": [f'[["page", "{kinds[row % len(kinds)]}"], ["reflection", "plain"]]' for row in rows],
            }
            for name, column in news.items():
                table = table.append_column(name, pa.array(column))
            pq.write_table(table, path)
        return RunDir.open(run.folder)

    return make


def test_readings_are_counted_for_each_policy_and_in_all(asked: MakeRun):
    run = asked()

    found = readings(run, standings(run))

    assert found is not None
    for kind in found.kinds:
        there = pc.sum(pc.equal(run.pages["reading"], kind)).as_py()
        assert found.counts["all"].get(kind, 0) == there
        assert sum(found.counts[policy].get(kind, 0) for policy in ("mf", "popular", "random")) == there


def test_what_was_asked_besides_pages_is_told(asked: MakeRun):
    run = asked()
    found = readings(run, standings(run))
    assert found is not None
    assert found.besides == {"reflection": {"plain": len(run.pages)}}
    assert f"Asked besides: {len(run.pages):,} of kind reflection (all read)." in report(run).replace("\u202f", ",")


def test_the_threshold_is_the_runs_own_or_the_populations(asked: MakeRun):
    usual = inspect.signature(LLMPopulation.__init__).parameters["most_failed"].default

    assert usual == MOST_FAILED
    assert "more than 5\u00a0% of all its questions failed" in report(asked())
    assert "more than 12.5\u00a0% of all its" in report(asked(options={"most_failed": 0.125}, folder="own"))


def test_too_many_failures_are_loud_and_few_are_not(asked: MakeRun):
    few, many = report(asked()), report(asked(kinds=("plain", "failed"), folder="many"))

    assert "answers: failed" not in few
    assert "answers: failed" in many
    assert "got no answer that could be read" in many


def test_a_stand_in_is_never_called_a_language_model(asked: MakeRun):
    told = dict(who(asked(model=STAND_IN)))
    page = report(asked(model=STAND_IN, folder="again"))

    assert "scripted stand-in" in told["who they are"]
    for sentence in re.findall(r"[^.>]*language model[^.<]*", page):
        assert "no language model" in sentence


def test_a_model_is_named_with_its_settings_prompts_and_calls(asked: MakeRun):
    run = asked()
    record = Record(run.folder / "answers.sqlite")
    for number, kind in enumerate(("page", "page", "interview")):
        record.put(bytes([number]), kind, Answer("{}", tokens_in=1000, tokens_out=10))
    record.close()

    told = dict(who(run))

    assert "the language model small-8b" in told["who they are"]
    assert told["asked with"] == "temperature = 0.7"
    assert told["prompts"] == "version 9ed02"
    assert told["calls"] == "3 on record (interview 1, page 2)"
    assert told["tokens"] == "3,000 in, 30 out"

    Ledger(record, "mark").begin("interview", 500, 1024)
    record.close()
    most = "2,500 in, 1,044 out; 1 of the requests broke off: the most that they can have taken counts"
    assert dict(who(run))["tokens"] == most


def test_the_address_of_a_model_stays_at_home(asked: MakeRun):
    page = report(asked(model=MODEL | {"extra": {"proxy": "http://gpu-7.lab:8000/v1"}}))

    assert "gpu-7" not in page


def test_verdicts_are_means_over_the_users_who_left(asked: MakeRun):
    run = asked()

    found = interviews(run.pages, standings(run))

    # Users 1 to 12 by their ids; the fifth and the tenth stay to the limit.
    verdicts = np.array([[1.0 + user % 10] for user in range(1, 13) if user not in (5, 10)])
    assert found is not None
    assert sorted(found.verdicts["mf"]) == sorted(verdicts[:, 0])
    (known,) = means(verdicts)
    estimate = found.stands.estimate("mf", "verdict")
    assert (estimate.mean, estimate.low, estimate.high, estimate.n) == pytest.approx(
        (known.mean, known.low, known.high, 10)
    )
    assert found.asked == "mf 10 of 12, popular 10 of 12, random 10 of 12"


def test_a_verdict_stands_beside_the_pages_of_the_same_sessions(asked: MakeRun):
    run = asked()

    found = interviews(run.pages, standings(run))

    assert found is not None
    verdict, pages, gap = (
        found.stands.estimate("mf", name).mean for name in ("verdict", "their pages", "verdict − pages")
    )
    assert verdict is not None
    assert pages is not None
    assert gap == pytest.approx(verdict - pages)


def test_verdicts_are_compared_in_pairs_of_the_same_users(asked: MakeRun):
    run = asked()

    found = interviews(run.pages, standings(run))

    assert found is not None
    pair = found.stands.pairs["verdict", "mf", "random"]
    assert (pair.difference, pair.n, pair.tells_apart) == (0.0, 10, False)
    assert "3 comparisons of verdicts" in report(run)


def test_a_handful_of_verdicts_makes_no_policy_the_best(asked: MakeRun):
    few, enough = asked(users=(0, 1, 4), folder="few"), asked()

    assert "can't be told: it takes 10 users" in report(few).replace("&#39;", "'")
    assert "can't be told: it takes 10 users" in verdict_lines(few)[-1]
    for run, many in ((few, False), (enough, True)):
        found = interviews(run.pages, standings(run))
        assert found is not None
        assert bool(found.stands.best("verdict")) is many
        assert bool(found.doubt) is not many


def test_a_policy_of_which_nobody_gave_a_verdict_leaves_no_other_the_best(asked: MakeRun):
    run = asked()
    for path in (run.folder / "pages").glob("part-popular-*"):
        table = pq.read_table(path)
        none = pa.nulls(len(table), pa.float64())
        pq.write_table(table.set_column(table.column_names.index("verdict"), "verdict", none), path)

    again = RunDir.open(run.folder)
    found = interviews(again.pages, standings(again))

    assert found is not None
    assert found.stands.best("verdict") == []
    assert "popular 2 who stayed to the last page were not asked" in found.left_out
    assert "10 who left gave no verdict that could be read" in found.left_out
    assert "What they said after leaving" in report(again)


def test_whom_the_verdicts_leave_out_is_told_with_how_they_liked_their_pages(asked: MakeRun):
    run = asked()
    mine = [row for row in run.pages.to_pylist() if row["policy"] == "mf"]
    stayed = [np.mean([row["satisfaction"] for row in mine if row["user_id"] == user]) for user in (5, 10)]

    found = interviews(run.pages, standings(run))

    assert found is not None
    (one,) = found.others["mf"]
    assert (one.reason, one.sessions) == ("who stayed to the last page were not asked", 2)
    assert one.satisfaction == pytest.approx(float(np.mean(stayed)))
    for told in (report(run), verdict_lines(run)[-1]):
        assert "mf 2 who stayed to the last page were not asked (pages " in told


def test_the_plot_of_verdicts_is_well_formed_and_told_in_words(asked: MakeRun):
    page = report(asked())

    plots = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    (plot,) = [svg for svg in plots if svg.get("aria-labelledby", "").startswith("interviews")]
    assert [child.tag for child in plot][:2] == ["title", "desc"]
    assert "mf: mean" in str(plot[1].text)
    assert not re.search(r'="(nan|inf|-inf|None)"', page)


def test_quotes_are_the_lowest_the_middle_and_the_highest_of_a_cause(asked: MakeRun):
    run = asked()

    first = spoken(run.pages, standings(run))[0]

    assert [farewell.cause for farewell in first.farewells] == ["bored", "tired"]
    # Users 1, 3, 7, 9 and 11 were bored: verdicts 2, 4, 8, 10 and 2, of which the median is 4.
    told = [(quote.place, quote.figure, quote.speaker) for quote in first.farewells[0].quotes]
    assert told == [
        ("lowest", "verdict 2", "user 1, page 1"),
        ("middle", "verdict 4", "user 3, page 3"),
        ("highest", "verdict 10", "user 9, page 4"),
    ]


def test_one_who_left_alone_is_quoted_once(asked: MakeRun):
    run = asked(users=(0, 1, 4))

    for farewell in spoken(run.pages, standings(run))[0].farewells:
        (quote,) = farewell.quotes
        assert quote.place == "the only one"


def test_words_too_many_for_a_page_are_cut(asked: MakeRun):
    run = asked(words="very " * 1000)

    words = spoken(run.pages, standings(run))[0].farewells[0].quotes[0].words

    assert len(words) <= 420
    assert words.endswith(" …")


def test_what_users_said_cannot_become_markup(asked: MakeRun):
    evil = "<script>alert('x')</script><img src=x onerror=alert(1)>"
    page = report(asked(words=evil, cause=evil))

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert not {"script", "img"} & set(Names(page).found)


def test_users_who_were_not_asked_have_no_such_sections(run: RunDir):
    page = report(run)

    assert not [heading for heading in HEADINGS if heading in page]
    assert len(verdict_lines(run)) == 2


def test_a_log_from_before_there_were_words_makes_a_report(run: RunDir):
    for path in (run.folder / "pages").iterdir():
        pq.write_table(pq.read_table(path).drop_columns("words"), path)

    page = report(RunDir.open(run.folder))

    assert not [heading for heading in HEADINGS if heading in page]


def test_a_run_in_which_nobody_was_interviewed_has_readings_and_words_alone(asked: MakeRun):
    run = asked()
    for path in (run.folder / "pages").iterdir():
        pq.write_table(pq.read_table(path).drop_columns("verdict"), path)

    page = report(RunDir.open(run.folder))

    assert [heading in page for heading in HEADINGS] == [True, False, True]
    assert "satisfaction" in spoken(RunDir.open(run.folder).pages, standings(run))[0].farewells[0].quotes[0].figure


def test_asked_users_give_the_same_report_twice(asked: MakeRun):
    run = asked()

    assert report(run) == report(RunDir.open(run.folder))


def test_a_terminal_tells_readings_and_verdicts(asked: MakeRun):
    *_, read, said = verdict_lines(asked())

    assert "64\u00a0% plain" in read
    assert "at most 5\u00a0% may fail" in read
    assert "10 of 12 sessions" in said
