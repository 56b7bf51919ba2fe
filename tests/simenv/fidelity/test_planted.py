"""Each planted fault is caught by the test that is meant for it, and by no other."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from simenv.fidelity.battery import Battery, battery
from simenv.fidelity.bench import Bench
from simenv.films import World
from simenv.population import Population

MakeBench = Callable[[Callable[[], Population]], Bench]
CAUGHT_BY = {
    "SaysYes": "taste",
    "RatesAlike": "ratings",
    "LooksAtTheFirst": "behaviour",
    "IgnoresTheList": "dose",
    "TraitDecides": "interference",
    "KnowsTitlesByHeart": "cues",
    "SeesOnlyWrecks": "ranking",
    "RatesUnwatched": "review",
}


def planted() -> ModuleType:
    """Return the file beside this one: tests are no package."""
    spec = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(found: Battery) -> dict[str, str]:
    return {one.test: one.word for one in found.results}


@pytest.mark.parametrize("fault", CAUGHT_BY)
def test_a_fault_is_caught_by_its_own_test_alone(
    fault: str, on_bench: MakeBench, faithful: Bench, world_on_bench: World
):
    kind: Any = getattr(planted(), fault)
    more = [faithful.junk] if fault == "SeesOnlyWrecks" else []
    found = battery(on_bench(lambda: kind(world_on_bench.truth, *more)))

    assert [test for test, word in words(found).items() if word == "fail"] == [CAUGHT_BY[fault]], found.note
    assert found.word == "fail"
    assert found.note.startswith(f"fail: {CAUGHT_BY[fault]} (")


def test_who_can_judge_items_one_by_one_is_as_faithful_as_who_cannot(on_bench: MakeBench, world_on_bench: World):
    found = battery(on_bench(lambda: planted().Faithful(world_on_bench.truth)))

    assert set(words(found).values()) == {"pass"}, found.note
