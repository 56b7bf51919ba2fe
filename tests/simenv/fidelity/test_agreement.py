"""Populations beside each other: what is the same agrees wholly, what is drawn by coins agrees as chance does."""

from dataclasses import dataclass

import numpy as np
import pytest

from simenv.arrays import BitArray, IntArray
from simenv.chance import mix, uniform
from simenv.dataset import Dataset
from simenv.fidelity.agreement import agreement, kappa_of
from simenv.fidelity.bench import Bench
from simenv.pages import EMPTY, Grade, Page, Reaction


@dataclass
class Rule:
    """Takes even items, or odd ones, or what a coin says."""

    kind: str

    def fit(self, dataset: Dataset) -> None:
        """Nothing is learnt."""

    def enter(self, users: IntArray, luck: BitArray) -> "Rule":  # noqa: ARG002
        self.luck = luck
        return self

    def reseat(self, seats: IntArray, users: IntArray, luck: BitArray) -> None:  # noqa: ARG002
        self.luck[seats] = luck

    def react(self, page: Page) -> Reaction:
        coins = uniform(mix(self.luck[page.seats][:, None], page.items)) < 0.5
        takes = {"even": page.items % 2 == 0, "odd": page.items % 2 == 1, "coin": coins}[self.kind]
        grades = np.where(page.items == EMPTY, Grade.UNSEEN, np.where(takes, Grade.LIKED, Grade.PASSED))
        users = len(page.users)
        return Reaction(
            grades.astype(np.int8), np.full(page.items.shape, np.nan), 1 + 9 * takes.mean(axis=1),
            np.zeros(users, dtype=bool), np.full(users, "", dtype=object),
        )  # fmt: skip


@pytest.fixture(scope="module")
def told(on_bench) -> dict[str, tuple[float, float, float]]:
    bench: Bench = on_bench(lambda: Rule("even"))
    found = agreement(bench, {"same": Rule("even"), "other": Rule("odd"), "coins": Rule("coin")}, "even")
    values = {one.name.removeprefix("kappa of "): one.value for one in found.figures}
    return {name: (value.mean, value.low, value.high) for name, value in values.items()}


def test_those_who_do_the_same_agree_wholly(told):
    assert told["even and same"][0] == 1.0
    assert told["even with themselves"][0] == 1.0


def test_those_who_do_the_opposite_disagree_wholly(told):
    assert told["even and other"][0] < -0.9


def test_coins_agree_as_chance_does(told):
    for name in ("even and coins", "coins with themselves"):
        mean, low, high = told[name]
        assert low < 0 < high
        assert abs(mean) < 0.05


def test_kappa_is_cohens():
    assert kappa_of(np.array([[[20.0, 5.0], [10.0, 15.0]]])).mean == pytest.approx(0.4)  # of Cohen 1960's kind


def test_no_verdict_hangs_on_it(on_bench):
    bench: Bench = on_bench(lambda: Rule("even"))
    found = agreement(bench, {"coins": Rule("coin")}, "even")
    assert found.word == "not measured"
    assert {figure.word for figure in found.figures} == {""}
    (pairs, taken) = found.tables
    assert [row[:2] for row in pairs.rows] == [
        ("even", "coins"), ("even", "themselves, other luck"), ("coins", "themselves, other luck"),
    ]  # fmt: skip
    assert [row[0] for row in taken.rows] == ["even", "coins"]
