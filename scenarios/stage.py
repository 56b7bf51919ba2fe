"""What a scenario's policies and population have in common: the data, the split, and who takes part."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simenv.arrays import IntArray
from simenv.chance import stream
from simenv.dataset import Dataset
from simenv.errors import SimenvError
from simenv.films import films_world
from simenv.readers import open_dataset
from simenv.splits import Split, as_published, by_time, leave_one_out
from simenv.truth import Truth

from .scenario import DatasetPart, Scenario, SplitPart


@dataclass(frozen=True, eq=False)
class Stage:
    """All that a scenario's policies and population have in common."""

    scenario: Scenario
    split: Split
    truth: Truth | None
    users: IntArray  # who take part, in order

    @property
    def sessions(self) -> int:
        """How many sessions a run has: each user comes once for each policy and seed."""
        return len(self.users) * len(self.scenario.policies) * len(self.scenario.seeds)

    @property
    def gifts(self) -> dict[str, object]:
        """What can be lent to policies and populations that ask for it."""
        held_out = self.split.test
        return {"truth": self.truth, "held_out": held_out if len(held_out) else None}


def set_stage(scenario: Scenario) -> Stage:
    """Open the data, hold rows out, and choose who takes part."""
    dataset, truth = open_world(scenario.dataset)
    split = cut(dataset, scenario.split)
    able: IntArray = np.flatnonzero(np.diff(split.train.starts) > 0)
    if len(split.test):
        tested = np.intersect1d(able, split.test.users)
        able = tested if len(tested) else able
    wanted = scenario.users or len(able)
    if wanted > len(able):
        raise SimenvError(
            f"users: {wanted} wanted, but {dataset.name} has {len(able)} with training rows"
            f"{' and test rows' if len(split.test) else ''}; --set users={len(able)} takes them all"
        )
    chosen = np.sort(stream(0, "users").choice(able, size=wanted, replace=False))
    return Stage(scenario, split, truth, chosen)


def open_world(part: DatasetPart) -> tuple[Dataset, Truth | None]:
    """Return the data set that a scenario names, and its truth where that is known."""
    if part.name is not None:
        if part.name != "films":
            raise SimenvError(
                f"dataset.name: no built-in world '{part.name}'; there is films; files go by dataset.path"
            )
        try:
            world = films_world(**part.options)
        except TypeError as error:
            raise SimenvError(f"dataset films: {error}; it takes users, items and seed, all whole numbers") from None
        return world.dataset, world.truth
    try:
        return open_dataset(Path(str(part.path)).expanduser(), **part.options), None
    except TypeError as error:
        raise SimenvError(f"dataset {part.path} with options {part.options}: {error}") from None


def cut(dataset: Dataset, part: SplitPart) -> Split:
    """Hold rows out as the scenario says."""
    if part.by == "time":
        return by_time(dataset, part.test, part.valid)
    if part.by == "published":
        return as_published(dataset, part.column)
    return leave_one_out(dataset)
