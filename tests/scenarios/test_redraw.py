"""The confidence of a preference is how often it holds when chance is drawn anew."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from simenv.pages import GRADE_WORDS
from simenv.scenarios.pairs import Wish, pairs
from simenv.scenarios.runner import run

RANK = {word: grade for grade, word in enumerate(GRADE_WORDS)}


def played(tiny: Any, folder: Path, population: str, seeds: list[int]) -> Any:
    """Run users of a made world before pop, which shows everybody the same pages whatever the seed."""
    changes = {"dataset": {"name": "films", "users": 250, "items": 120}, "policies": ["pop"], "fidelity": False}
    changes |= {"page_size": 6, "max_pages": 3, "offline": None, "users": 250}
    return run(tiny(population=population, seeds=seeds, **changes), folder)


def told_and_held(tiny: Any, tmp_path: Path, population: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the confidence of each pair of one seed, and how often it held and was reversed under twelve others."""
    rows = pq.read_table(
        pairs(
            played(tiny, tmp_path / "one", population, [0]).folder,
            tmp_path / "pairs.parquet",
            Wish(leaks="keep"),
        ).path
    ).to_pylist()
    grades: dict[tuple[object, ...], int] = {}
    for event in played(tiny, tmp_path / "others", population, list(range(1, 13))).events.to_pylist():
        grades[event["seed"], event["user_id"], event["item_id"]] = RANK[event["grade"]]
    held, reversed_ = np.zeros(len(rows)), np.zeros(len(rows))
    for place, row in enumerate(rows):
        for seed in range(1, 13):
            one, other = (grades.get((seed, row["user"], row[f"{side}_item"]), 0) for side in ("chosen", "rejected"))
            if one and other:
                held[place] += one > other
                reversed_[place] += one < other
    return np.array([row["confidence"] for row in rows]), held, reversed_


@pytest.mark.parametrize("population", ["truth", "choice"])
def test_confidence_is_calibrated_on_seeds_that_it_never_saw(tiny: Any, tmp_path: Path, population: str):
    told, held, turned = told_and_held(tiny, tmp_path, population)
    count = held + turned
    assert count.sum() > 2000
    cuts = np.quantile(told, [0.25, 0.5, 0.75])
    bins = np.searchsorted(cuts, told)
    gaps = []
    for number in range(4):
        here = bins == number
        share = held[here].sum() / count[here].sum()
        gaps.append(abs(share - np.average(told[here], weights=count[here])))
    assert np.mean(gaps) < 0.05
    assert max(gaps) < 0.1
    base = held.sum() / count.sum()
    wrong = [float((held * (1 - guess) ** 2 + turned * guess**2).sum()) for guess in (told, base, 1.0)]
    assert wrong[0] < wrong[1] < wrong[2]


def test_the_same_run_tells_the_same_confidence_and_it_is_seldom_one(tiny: Any, tmp_path: Path):
    result = played(tiny, tmp_path / "run", "truth", [0])
    first, second = (
        [
            row["confidence"]
            for row in pq.read_table(pairs(result.folder, tmp_path / name, Wish(leaks="keep")).path).to_pylist()
        ]
        for name in ("a.parquet", "b.parquet")
    )
    assert first == second
    assert np.mean(np.array(first) > 0.99) < 0.1


def test_who_asks_a_language_model_is_asked_nothing_more(tiny: Any, tmp_path: Path):
    result = run(tiny(population="llm", users=20, fidelity=False), tmp_path / "asked")
    written = pairs(result.folder, tmp_path / "labels.parquet", Wish(form="kto", leaks="drop"))
    assert "other judgements" in written.card["confidence_by"]
