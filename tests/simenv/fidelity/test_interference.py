"""Shares of the variance are named by what the lists differ in, and traits are changed apart from lists."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simenv.agents.llm import LLMPopulation
from simenv.chat.model import Answer, ChatModel, Question
from simenv.chat.scripted import Scripted
from simenv.fidelity.battery import answers_a_user, battery
from simenv.fidelity.bench import Bench
from simenv.fidelity.interference import CHANGES, HIGH, interference, sessions_a_user
from simenv.fidelity.results import LIMITS, Limit, Result
from simenv.fidelity.variance import parts_of

FREE_TIME = "a lot; it is a large part of your free time"  # a high activity, as prompts tell it


class PleasedByNature(Scripted):
    """Answers by the stand-in's rules, but that its satisfaction follows its activity alone."""

    async def ask(self, question: Question) -> Answer:
        answer = await super().ask(question)
        told = json.loads(answer.text)
        if "satisfaction" not in told:
            return answer
        is_active = any(FREE_TIME in message.text for message in question.messages)
        return replace(answer, text=json.dumps(told | {"satisfaction": 9 if is_active else 3}))


def agents(faithful: Bench, model: ChatModel, users: int = 12) -> tuple[Bench, LLMPopulation]:
    """Return a few agents on the bench, brief as where every answer costs."""
    population = LLMPopulation(model=model)
    population.fit(faithful.train)
    few = {name: one[:users, :10] for name, one in faithful.lists.items()}
    return replace(
        faithful,
        population=population,
        users=np.arange(users),
        lists=few,
        max_pages=2,
        repeats=1,
        is_brief=True,
        known_base="ease",
    ), population


def means(found: Result) -> Mapping[str, float]:
    return {figure.name: figure.value.mean for figure in found.figures}


def columns(found: Result, begin: str) -> Mapping[str, dict[str, Any]]:
    """Return a table's rows by their first cell, each by its heads."""
    (table,) = [table for table in found.tables if table.title.startswith(begin)]
    return {str(row[0]): dict(zip(table.heads, row, strict=True)) for row in table.rows}


@pytest.fixture(scope="module")
def found(faithful: Bench) -> Result:
    return interference(faithful)


def test_shares_of_made_cells_are_those_they_were_made_with():
    rng = np.random.default_rng(0)
    users, lists, times = 2000, 40, 3
    sizes = {"list": 4.0, "persona": 2.0, "interplay": 1.0, "noise": 0.5}  # variances
    made = (
        rng.normal(0, 2, (1, lists, 1))
        + rng.normal(0, np.sqrt(2), (users, 1, 1))
        + rng.normal(0, 1, (users, lists, 1))
        + rng.normal(0, np.sqrt(0.5), (users, lists, times))
    )
    parts = parts_of(made)

    assert parts[0] == pytest.approx(np.var(made.mean(axis=(0, 2)), ddof=1), rel=0.05)
    assert parts[1:] == pytest.approx(tuple(sizes.values())[1:], rel=0.1)


def test_what_was_played_once_tells_no_interplay_from_noise():
    cells = np.random.default_rng(1).normal(size=(500, 6, 1))

    _, persona, interplay, noise = parts_of(cells)

    assert interplay == 0
    assert persona == pytest.approx(0, abs=0.05)
    assert noise == pytest.approx(1, rel=0.1)


def test_the_verdict_hangs_on_doses_of_junk_and_policies_stand_beside(found: Result, faithful: Bench):
    held = [figure.name for figure in found.figures if figure.word]

    assert all(name.endswith("persona's share of what persona and dose of junk decide") for name in held)
    assert len(held) == 3
    by_dose, by_policy = columns(found, "Shares of the variance, between doses"), columns(
        found, f"Shares of the variance, between policies ({', '.join(faithful.lists)})"
    )  # fmt: skip
    for rows, source in ((by_dose, "dose of junk"), (by_policy, "policy")):
        for metric, row in rows.items():
            assert sum(float(row[name]) for name in (source, "persona", "interplay", "noise")) == pytest.approx(1)
            assert means(found)[f"{metric}: share of {source} in all, by {source}"] == pytest.approx(row[source])
    assert float(by_dose["satisfaction"]["dose of junk"]) > float(by_policy["satisfaction"]["policy"])


def test_policies_that_show_the_same_lists_have_no_variance_between_them(faithful: Bench):
    same = replace(faithful, lists=dict.fromkeys(("one", "other"), faithful.lists["ease"]), known_base="one")

    rows = columns(interference(same), "Shares of the variance, between policies")

    assert all(float(row["policy"]) < 0.01 for row in rows.values())


def test_one_policy_has_no_variance_between_policies(faithful: Bench):
    alone = replace(faithful, lists={"ease": faithful.lists["ease"]}, known_base="ease")
    found = interference(alone)

    (row,) = columns(found, "Shares of the variance, between policies").values()
    assert row[""].startswith("unmeasured")
    assert not [name for name in means(found) if "by policy" in name]
    assert found.word == "pass"


def test_users_who_see_the_same_lists_differ_by_who_they_are(found: Result):
    rows = columns(found, "Shares of the variance, the same lists for everybody")
    told = columns(found, "Shares of what differs between users who see the same lists")

    assert float(rows["satisfaction"]["interplay"]) > 0  # of lists and tastes
    assert set(told) == {"activity", "conformity", "diversity"}
    assert all(abs(float(row["satisfaction"])) <= 1 for row in told.values())


def test_a_stated_trait_moves_agents_whose_lists_stay_as_they_are(faithful: Bench):
    bench, population = agents(faithful, PleasedByNature())
    before = population.introduce(bench.users.tolist())
    told = means(interference(bench))

    assert told["satisfaction: high less low activity, lists fixed"] == pytest.approx(6.0)
    assert told["satisfaction: high less low conformity, lists fixed"] == pytest.approx(0.0)
    assert told["satisfaction: high less low diversity, lists fixed"] == pytest.approx(0.0)
    assert told["satisfaction: the list without junk less junk alone, traits fixed"] == pytest.approx(0.0)
    assert population.introduce(bench.users.tolist()) == before, "they are who they were"


def test_a_list_moves_agents_whose_traits_stay_as_they_are(faithful: Bench):
    bench, _ = agents(faithful, Scripted())
    found = interference(bench)
    told, rows = means(found), columns(found, "Shares of the variance, traits and lists changed apart")

    assert told["likes: the list without junk less junk alone, traits fixed"] > 0.3
    assert abs(told["likes: high less low activity, lists fixed"]) < 0.3
    assert float(rows["likes"]["list"]) > float(rows["likes"]["stated traits"])


def test_every_two_traits_are_changed_apart():
    is_high = np.array([[level == HIGH for level in levels] for levels in CHANGES])

    for one in range(3):
        for other in range(one):
            assert len({tuple(row) for row in is_high[:, [one, other]].tolist()}) == 4


def test_agents_are_asked_no_oftener_than_a_user_is_reckoned_to_be(faithful: Bench):
    bench, _ = agents(faithful, Scripted())
    asked = battery(bench, tests=["interference"]).asked

    assert asked <= sessions_a_user(bench, len(bench.lists)) * bench.max_pages * len(bench.users)
    assert answers_a_user(bench) > sessions_a_user(bench, len(bench.lists)) * bench.max_pages


def test_limits_are_those_of_the_doses(faithful: Bench):
    strict = LIMITS | {"interference.persona": Limit(good=0.0, bad=0.0001)}
    found = interference(replace(faithful, limits=strict))

    assert found.word == "fail"
    assert "persona and dose of junk decide" in found.note
