"""Agents one by one: who they are, and what they say for themselves."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from simenv.agents.llm import LLMPopulation
from simenv.agents.mixture import TalkingMixture
from simenv.chat.opening import Answers
from simenv.errors import RunError, SimenvError
from simenv.rundir import PERSONAS, RunDir

from .names import build
from .runner import answers_of
from .scenario import Scenario, code_of, read_scenario
from .stage import Stage, set_stage
from .terminal import escaped


def personas_of(
    source: str, settings: Sequence[str] = (), user: str | None = None, *, allow_code: bool = False
) -> Iterator[str]:
    """Yield the personas of a scenario's or a run's agents, or of one user, each as a line of JSON.

    A run holds its own; those of a scenario are made anew, by its model if they are to be written. Code that a run
    names is imported with `allow_code` alone.
    """
    with code_of(source, allow_code=allow_code):
        scenario, known = _scenario(source, settings), _known(Path(source))
        stage, population = _agents(scenario, None, asks=not known and _writes(scenario.population.options))
    users = stage.users.tolist() if user is None else [_index(stage, user)]
    try:
        if user is not None:
            _agent(population, users[0], user)
        for told in population.introduce(users, known):
            yield escaped(json.dumps(told, ensure_ascii=False))
    finally:
        population.close()


def interview(
    folder: Path,
    user: str,
    question: str,
    policy: str | None = None,
    seed: int | None = None,
    *,
    allow_code: bool = False,
) -> str:
    """Return what an agent of a finished run says, with all that the session left in its memory.

    After the first policy and the first seed unless told. Code that the run names is imported with `allow_code` alone.
    """
    result = RunDir.open(folder)
    scenario = _scenario(str(folder), [])
    label = policy or scenario.policies[0].label
    if label not in [one.label for one in scenario.policies]:
        raise RunError(f"--policy {label}: the run has {', '.join(one.label for one in scenario.policies)}")
    with code_of(folder, allow_code=allow_code):
        stage, population = _agents(scenario, folder, asks=True)
    index = _index(stage, user)
    number = scenario.seeds[0] if seed is None else seed
    try:
        agent = _agent(population, index, user)
        remembered = _remembered(result, stage.split.train.users.ids[index], label, number)
        population.introduce([index], _known(folder))
        return agent.answer(index, remembered, question)
    finally:
        population.close()


def _scenario(source: str, settings: Sequence[str]) -> Scenario:
    """Return the scenario of a file, by name, or of a run."""
    inside = Path(source) / "scenario.yaml"
    return read_scenario(str(inside) if inside.is_file() else source, settings)


def _writes(options: Mapping[str, Any]) -> bool:
    """Tell whether a model writes personas: of agents, or of those in a mixture."""
    members = options.get("of", [])
    return options.get("personas") == "written" or any(_writes(one) for one in members if isinstance(one, Mapping))


def _agents(scenario: Scenario, folder: Path | None, *, asks: bool) -> tuple[Stage, LLMPopulation | TalkingMixture]:
    stage = set_stage(scenario)
    chosen = scenario.population
    answers = Answers() if folder is None else answers_of(folder, None)
    population = build("population", chosen.name, chosen.options, stage.gifts | {"answers": answers})
    if not isinstance(population, LLMPopulation | TalkingMixture):
        raise SimenvError(f"the users of {scenario.name} are of the population '{chosen.name}'; only 'llm' has agents")
    if asks:
        answers.check()
    population.fit(stage.split.train)
    return stage, population


def _agent(population: LLMPopulation | TalkingMixture, index: int, user: str) -> LLMPopulation:
    """Return whom to ask for a user: in a mixture, the agents of his kind."""
    if isinstance(population, LLMPopulation):
        return population
    member = population.of[population.kinds(np.array([index]))[0]]
    if not isinstance(member.population, LLMPopulation):
        raise SimenvError(f"user {user} is one of '{member.label}', who have no words; only those of 'llm' are agents")
    return member.population


def _known(folder: Path) -> list[dict[str, Any]]:
    """Return the personas that a run wrote down; what is no run's folder holds none."""
    return RunDir(folder).read_lines(PERSONAS) if folder.is_dir() else []


def _index(stage: Stage, user: str) -> int:
    names = {str(stage.split.train.users.ids[index]): index for index in stage.users.tolist()}
    if user not in names:
        some = ", ".join(list(names)[:5])
        raise SimenvError(f"no user {user} takes part; there are {len(names)}, such as {some}")
    return int(names[user])


def _remembered(result: RunDir, user: object, policy: str, seed: int) -> list[str]:
    """Return what a user wrote to memory, page by page."""
    pages = result.pages
    if "remembered" not in pages.column_names:
        raise RunError(f"{result.folder}: its log holds no memories; its users were no agents")
    mine = (pc.field("policy") == policy) & (pc.field("seed") == seed) & (pc.field("user_id") == user)
    rows = pages.filter(mine)
    if not len(rows):
        raise RunError(f"{result.folder}: no session of user {user} with policy {policy} and seed {seed} in its log")
    return [told for told in rows["remembered"].to_pylist() if told]
