"""What `gymnasium.make("simenv/Page-v0")` makes, from names that a user may type."""

import inspect
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from simenv.dataset import Dataset
from simenv.environment import PageEnv, PageVectorEnv
from simenv.errors import ScenarioError
from simenv.population import Population, answered_by
from simenv.seats import Seating

from .fitted import fitted_population
from .names import build
from .scenario import Scenario, code_of, read_scenario, scenario_of
from .stage import set_stage

DEFAULT = {"name": "page", "dataset": {"name": "films"}, "policies": ["random"]}


def page_env(**settings: Any) -> PageEnv:
    """Return a single environment; see `cast` for the settings."""
    dataset, population, rest = cast(settings)
    _check_settings(PageEnv, rest)
    return PageEnv(dataset, population, **rest)


def page_vector_env(num_envs: int = 1, **settings: Any) -> PageVectorEnv:
    """Return a vector environment; see `cast` for the settings."""
    dataset, population, rest = cast(settings)
    _check_settings(PageVectorEnv, rest)
    return PageVectorEnv(dataset, population, num_envs=num_envs, **rest)


def _check_settings(environment: type[PageEnv] | type[PageVectorEnv], settings: Mapping[str, Any]) -> None:
    """Say so when an environment takes no setting of this name."""
    own = [name for name in inspect.signature(environment).parameters if name not in ("num_envs", "seating")]
    known = list(dict.fromkeys(["scenario", "dataset", "split", "population", *own, *Seating.__annotations__]))
    for name in settings:
        if name not in known:
            raise ScenarioError(f"no setting '{name}' of an environment; there are {', '.join(known)}")


def cast(settings: dict[str, Any]) -> tuple[Dataset, Population, dict[str, Any]]:
    """Return the data set, the fitted population and what is left of the settings for the environment.

    `scenario` names a scenario file or one that is shipped. `dataset`, `split` and `population` are as in
    a scenario; or `dataset` and `population` are a `Dataset` of training rows and a fitted population.
    """
    rest = dict(settings)
    if isinstance(rest.get("dataset"), Dataset):
        if "population" not in rest:
            raise ScenarioError("a dataset given as a Dataset wants a fitted population beside it: population=...")
        return rest.pop("dataset"), rest.pop("population"), rest
    source = rest.pop("scenario", None)
    changes = {name: rest.pop(name) for name in ("dataset", "split", "population") if name in rest}
    if isinstance(changes.get("dataset"), str):
        changes["dataset"] = {"name" if changes["dataset"] == "films" else "path": changes["dataset"]}
    if source is not None:
        scenario = read_scenario(source, [f"{name}={json.dumps(value)}" for name, value in changes.items()])
        told = ("page_size", "max_pages", "leave_out_past", "leave_out_shown")
        rest = {name: getattr(scenario, name) for name in told} | rest
    else:
        scenario = scenario_of(DEFAULT | changes)
    with code_of("" if source is None else source):
        dataset, population = _fitted(scenario.model_copy(update={"users": None}).model_dump_json())
    return dataset, population, rest


@lru_cache(maxsize=4)
def _fitted(text: str) -> tuple[Dataset, Population]:
    """Return training rows and a population fitted to them; the same for every environment of a process."""
    scenario = Scenario.model_validate_json(text)
    stage = set_stage(scenario)
    chosen = scenario.population
    population: Population = build("population", chosen.name, chosen.options, stage.gifts)
    keep = not answered_by(population).a_model
    fitted_population(population, chosen.name, stage.split.train, options=chosen.options, keep=keep)
    return stage.split.train, population
