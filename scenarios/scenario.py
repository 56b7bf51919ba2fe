"""What a scenario file may say, and how it is read: errors name the file, the line, the key and the remedy."""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from simenv.errors import SimenvError
from simenv.fidelity.battery import check_tests
from simenv.fidelity.results import limits_of
from simenv.plugins import importing

from .shipped import SHIPPED, source_file
from .told import Part, Told

RESULTS = ("manifest.json", "training.json")  # by which a folder is known for that of a run or a training
SPLITS = ("leave-one-out", "time", "published")


def by_name(value: object) -> object:
    """Return a name alone as the mapping that it stands for."""
    return {"name": value} if isinstance(value, str) else value


def _by_rule(value: object) -> object:
    return {"by": value} if isinstance(value, str) else value


class Named(BaseModel):
    """Something of the table of names, with the options it takes."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _without_home(cls, value: Any) -> Any:
        strange = not isinstance(value, dict) or ":" in str(value.get("name"))  # a stranger's may not know of ~
        return value if strange else _homeless(value)

    @property
    def options(self) -> dict[str, Any]:
        """Every key but our own."""
        return dict(self.model_extra or {})


class NamedPolicy(Named):
    """A policy, and the label it bears in log and report (its name, unless told)."""

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = ""

    @model_validator(mode="before")
    @classmethod
    def _labelled(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("name"), str) and "label" not in value:
            return value | {"label": value["name"].rpartition(":")[2]}
        return value


class DatasetPart(BaseModel):
    """A built-in world by name, or files by path (a folder, or the name of an imported data set)."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str | None = None
    path: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the world or the reader takes."""
        return dict(self.model_extra or {})

    @field_validator("path")
    @classmethod
    def _without_home(cls, path: str | None) -> str | None:
        return None if path is None else homeless(path)

    @model_validator(mode="after")
    def _one_source(self) -> "DatasetPart":
        if (self.name is None) == (self.path is None):
            raise ValueError("give either name (a built-in world: films) or path (a folder, or an imported data set)")
        return self


class SplitPart(Part):
    """How rows are held out."""

    by: Literal["leave-one-out", "time", "published"] = "leave-one-out"
    test: float = Field(default=0.1, gt=0, lt=1)
    valid: float = Field(default=0.1, ge=0, lt=1)
    column: str = "split"


class FidelityPart(Part):
    """How the users are held against real ones before policies are ranked by them."""

    measure: bool = True
    users: int = Field(default=300, ge=10)
    calls: int | None = Field(default=None, ge=1)
    tests: list[str] | None = None
    limits: dict[str, list[float]] = Field(default_factory=dict)
    beside: list[Annotated[Named, BeforeValidator(by_name)]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _known(self) -> "FidelityPart":
        try:
            limits_of(self.limits)
            check_tests(self.tests)
        except SimenvError as error:
            raise ValueError(str(error)) from None
        return self


def _by_switch(value: object) -> object:
    return {"measure": value} if isinstance(value, bool) else value


def distinct_labels(policies: list[NamedPolicy]) -> list[NamedPolicy]:
    """Return the policies, if no two of them bear one label."""
    labels = [policy.label.casefold() for policy in policies]  # they name files, and not all disks tell a from A
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"two policies are labelled '{twice[0]}'; give one of them a label of its own")
    return policies


Policies = Annotated[
    list[Annotated[NamedPolicy, BeforeValidator(by_name)]], Field(min_length=1), AfterValidator(distinct_labels)
]
SplitRule = Annotated[SplitPart, BeforeValidator(_by_rule)]
Fidelity = Annotated[FidelityPart, BeforeValidator(_by_switch)]


class Scenario(Part):
    """A whole play: who meets which policies over what, and for how long."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = "Which policy serves these users best?"
    dataset: DatasetPart
    split: SplitRule = SplitPart()
    population: Annotated[Named, BeforeValidator(by_name)] = Field(default_factory=lambda: Named(name="choice"))
    policies: Policies
    users: int | None = Field(None, ge=1)
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field([0], min_length=1)
    page_size: int = Field(10, ge=1, le=255)
    max_pages: int = Field(10, ge=1, le=10_000)
    offline: int | None = Field(20, ge=1)
    leave_out_past: bool = True
    leave_out_shown: bool = True
    batch_size: int = Field(1024, ge=1)
    fidelity: Fidelity = FidelityPart()

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands twice; name each once")
        return seeds


def homeless(text: str) -> str:
    """Return a text in which the user's own folder is `~`: what a run writes may be passed on."""
    home = str(Path.home())
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if len(home) > 1 else text


def _homeless(value: Any) -> Any:
    """Return options whose paths are so; what an endpoint is told stays as it is."""
    if isinstance(value, dict):
        return value if value.get("kind") == "endpoint" else {name: _homeless(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_homeless(one) for one in value]
    return homeless(value) if isinstance(value, str) else value


def read_scenario(source: str, settings: Sequence[str] = ()) -> Scenario:
    """Return the scenario of a file, or of one that is shipped, with `key=value` settings laid over it."""
    told = told_of(source)
    told.lay(settings)
    return told.check(Scenario)


def told_of(source: str, folder: Path = SHIPPED, what: str = "scenario") -> Told:
    """Return what a file says, or one of a folder of those that are shipped, by its name."""
    path = source_file(source, folder, what)
    return Told.read(path, source if path == Path(source) else path.name)


def code_of(source: str | Path, *, allow_code: bool = False) -> AbstractContextManager[None]:
    """Return a `with` block in which names of the form `package.module:Name` are those of this source.

    A scenario's file may name modules that lie beside it. The folder of a run or of a training may be another's, so its
    names are admitted only with `allow_code`; their modules are then looked for in the working directory, as those of
    names typed on the command line are.
    """
    path = Path(source)
    signs = [path / "scenario.yaml", *(path.parent / name for name in RESULTS if path.is_file())]
    if any(sign.is_file() for sign in signs):
        return importing(allowed=allow_code, folders=[Path()])
    return importing(allowed=True, folders=[path.parent if path.is_file() else Path()])


def scenario_of(values: Mapping[str, Any]) -> Scenario:
    """Return the scenario of these values, or say what is wrong with which."""
    return Told(dict(values)).check(Scenario)
