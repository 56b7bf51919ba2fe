"""An evaluation's page and tables tell every figure, with its protocol, and cut none off."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from simenv.errors import RunError
from simenv.reports.evaluation import evaluation_parts, evaluation_report, read_result

MakeEvaluation = Callable[..., Path]
KS = (1, 5, 10, 20)


@pytest.fixture
def make(tmp_path: Path) -> MakeEvaluation:
    """Return a maker of evaluations: NDCG@10 by policy, and whatever else should be told."""

    def made(ndcg: dict[str, float], kinds: tuple[str, ...] = ("recall", "ndcg", "hit", "mrr"), **told: Any) -> Path:
        names = [f"{kind}@{k}" for kind in kinds for k in KS]
        labels = list(ndcg)
        facts = {
            "evaluation": "small",
            "question": "Which policy finds it?",
            "protocol": {"split": "by hand", "ranked": "all 40 items"},
            "main": "ndcg@10",
            "in_percent": False,
            "dataset": {"name": "hand-made", "users": 12, "items": 40},
            "settings": {"candidates": None},
            "policies": [{"label": label, "name": label, "options": {}, "fit": {"seconds": 1.0}} for label in labels],
            "metrics": {
                label: {name: {"mean": value, "low": value - 0.01, "high": value + 0.01, "n": 12} for name in names}
                for label, value in ndcg.items()
            },
            "by_chance": dict.fromkeys(names, 0.0123),
            "comparisons": [
                {
                    "metric": name,
                    "policy": one,
                    "against": other,
                    "difference": ndcg[one] - ndcg[other],
                    "low": ndcg[one] - ndcg[other] - 0.02,
                    "high": ndcg[one] - ndcg[other] + 0.02,
                    "p": 0.001,
                    "p_holm": 0.003,
                    "n": 12,
                }
                for place, one in enumerate(labels)
                for other in labels[place + 1 :]
                for name in names
            ],
            "command": "simenv evaluate /home/ada/data/small",
        }
        (tmp_path / "evaluation.json").write_text(json.dumps(facts | told), encoding="utf-8")
        return tmp_path

    return made


def printed(folder: Path, width: int) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        for part in evaluation_parts(read_result(folder), width):
            console.print(part)
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_terminal_shows_every_figure_whole(make: MakeEvaluation, width: int):
    words = printed(make({"mf": 0.2345, "a-policy-with-a-long-name": 0.3456, "random": 0.0111}), width)

    assert max(map(len, words.splitlines())) <= width
    assert len(re.findall(r"0\.2345", words)) == 16
    assert len(re.findall(r"0\.3356–0\.3556", words)) == 16
    assert len(re.findall(r"0\.0123", words)) == 16
    assert all(f"{kind}@{k}" in words for kind in ("recall", "ndcg", "hit", "mrr") for k in KS)
    assert "by hand" in words
    assert "…" not in words.replace("a-policy…ng-name", "")


def test_the_best_is_marked_and_those_that_cannot_be_told_from_it(make: MakeEvaluation):
    words = printed(make({"one": 0.3, "alike": 0.29, "far": 0.1, "oracle": 0.9}, ("ndcg",)), 80)
    assert "*0.3000" in words
    assert "~0.2900" in words
    assert "*0.9000" not in words
    assert "difference from one in ndcg@10" in words


def test_candidates_are_told_in_per_cent(make: MakeEvaluation):
    folder = make({"pop": 0.4516, "random": 0.1474}, ("ndcg",), in_percent=True, settings={"candidates": {"count": 20}})
    words, page = printed(folder, 80), evaluation_report(read_result(folder))
    for told in (words, page):
        assert "45.16" in told
        assert "44.16–46.16" in told
        assert "0.4516" not in told
    assert "a few candidates" in page
    assert "ndcg@10 of 45.2" in page


def test_a_page_holds_the_protocol_and_fetches_nothing(make: MakeEvaluation):
    page = evaluation_report(read_result(make({"mf": 0.2, "pop": 0.1})))
    assert "by hand" in page
    assert "full ranking" in page
    assert not re.search(r"https?://|url\(|@import", page)
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    assert "nan" not in page.casefold().replace("maintenance", "")


def test_what_users_wrote_and_where_they_live_stays_out(make: MakeEvaluation):
    page = evaluation_report(read_result(make({"mf": 0.2}, question="<script>alert(1)</script>")))
    assert "<script>" not in page
    assert "ada" not in page


@pytest.mark.parametrize("policies", [{"mf": 0.2}, {"oracle": 0.9}, {"mf": 0.0, "pop": 0.0}])
def test_any_number_of_policies_has_a_page(make: MakeEvaluation, policies: dict[str, float]):
    folder = make(policies)
    assert evaluation_report(read_result(folder))
    assert printed(folder, 80)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"metrics": 3}'])
def test_a_damaged_evaluation_is_told(tmp_path: Path, content: str):
    (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(RunError, match=r"evaluation\.json: not an evaluation's figures"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"protocol": None}, {"protocol": 3}, {"main": 5}, {"main": "joy"}, {"dataset": 3}, {"versions": "x"}]
)
def test_a_part_that_is_damaged_is_told(make: MakeEvaluation, wrong: dict[str, Any]):
    folder = make({"mf": 0.2, "pop": 0.1})
    told = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(told | wrong))
    with pytest.raises(RunError, match="the file is damaged"):
        read_result(folder)


def test_a_folder_without_one_is_told(tmp_path: Path):
    with pytest.raises(RunError, match="no evaluation here"):
        read_result(tmp_path)
