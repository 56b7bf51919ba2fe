"""What a scenario file may say, and how it is read: errors name the file, the line, the key and the remedy."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from simenv.errors import ScenarioError

REMEDIES = {
    "too_short": "empty; give at least 1",
    "string_pattern_mismatch": "use letters, digits, '.', '_' and '-', and begin with a letter or digit",
    "model_type": "should be a name, or a mapping with a name",
    "dict_type": "should be a mapping of keys to values",
    "list_type": "should be a list",
}
SHIPPED = Path(__file__).parent / "files"
SPLITS = ("leave-one-out", "time", "published")
MOST_DEEP = 20
Place = tuple[str | int, ...]


def _by_name(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _by_rule(value: object) -> object:
    return {"by": value} if isinstance(value, str) else value


class Part(BaseModel):
    """A part of a scenario; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Named(BaseModel):
    """Something of the table of names, with the options it takes."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

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


class Scenario(Part):
    """A whole play: who meets which policies over what, and for how long."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = "Which policy serves these users best?"
    dataset: DatasetPart
    split: Annotated[SplitPart, BeforeValidator(_by_rule)] = SplitPart()
    population: Annotated[Named, BeforeValidator(_by_name)] = Named(name="choice")
    policies: list[Annotated[NamedPolicy, BeforeValidator(_by_name)]] = Field(min_length=1)
    users: int | None = Field(None, ge=1)
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field([0], min_length=1)
    page_size: int = Field(10, ge=1, le=255)
    max_pages: int = Field(10, ge=1, le=10_000)
    offline: int | None = Field(20, ge=1)
    leave_out_past: bool = True
    leave_out_shown: bool = True
    batch_size: int = Field(1024, ge=1)

    @field_validator("policies")
    @classmethod
    def _distinct_labels(cls, policies: list[NamedPolicy]) -> list[NamedPolicy]:
        labels = [policy.label.casefold() for policy in policies]  # they name files, and not all disks tell a from A
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two policies are labelled '{twice[0]}'; give one of them a label of its own")
        return policies

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands twice; name each once")
        return seeds

    def text(self) -> str:
        """Return the scenario as YAML with all values used."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


def homeless(text: str) -> str:
    """Return a text in which the user's own folder is `~`: what a run writes may be passed on."""
    home = str(Path.home())
    return re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if len(home) > 1 else text


def shipped() -> dict[str, Path]:
    """Return the scenarios that come with simenv, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def read_scenario(source: str, settings: Sequence[str] = ()) -> Scenario:
    """Return the scenario of a file, or of one that is shipped, with `key=value` settings laid over it."""
    path = Path(source)
    if not path.is_file() and source in shipped():
        path = shipped()[source]
    if not path.is_file():
        near = difflib.get_close_matches(source, shipped(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ScenarioError(f"{source}: no such scenario file; shipped scenarios are {', '.join(shipped())}{hint}")
    shown = source if path == Path(source) else path.name
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{shown}: not UTF-8 text at byte {error.start}; save it as UTF-8") from None
    values, lines = parse(text, shown)
    where: dict[Place, str] = {place: f"{shown}, line {line}" for place, line in lines.items()}
    for setting in settings:
        _lay(values, where, setting)
    return scenario_of(values, where, shown)


def scenario_of(
    values: Mapping[str, Any], where: Mapping[Place, str] | None = None, shown: str = "scenario"
) -> Scenario:
    """Return the scenario of these values, or say what is wrong with which, and where each was given."""
    where = where or {}
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        problems = [_problem(details, where, shown) for details in error.errors()]
        raise ScenarioError("\n".join(dict.fromkeys(problems))) from None


def parse(text: str, shown: str) -> tuple[dict[str, Any], dict[Place, int]]:
    """Return a YAML mapping and the line of each of its keys."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Place, int] = {}
        if node is not None:
            _walk(node, (), lines, shown)
        values = yaml.safe_load(text)
    except RecursionError:
        raise ScenarioError(f"{shown}: nested deeper than a scenario can be") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScenarioError(f"{shown}, line {line}: not readable as YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{shown}: not readable as YAML: {error}") from None
    if not isinstance(values, dict):
        raise ScenarioError(f"{shown}: a scenario is a mapping of keys to values, such as `name: my-scenario`")
    return values, lines


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int], shown: str) -> None:
    lines.setdefault(place, node.start_mark.line + 1)
    if len(place) > MOST_DEEP:
        raise ScenarioError(f"{shown}, line {node.start_mark.line + 1}: nested deeper than a scenario can be")
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = (*place, str(name.value))
            if inner in lines:
                raise ScenarioError(
                    f"{shown}, line {name.start_mark.line + 1}, {_dotted(inner)}: the key stands twice"
                    f" (first in line {lines[inner]}); keep one"
                )
            lines[inner] = name.start_mark.line + 1
            _walk(value, inner, lines, shown)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _walk(value, (*place, number), lines, shown)


def _lay(values: dict[str, Any], where: dict[Place, str], setting: str) -> None:
    """Lay one `key=value` over the scenario; dots go into parts, numbers into lists."""
    dotted, equals, written = setting.partition("=")
    if not equals or not dotted:
        raise ScenarioError(f"--set {setting}: write it as key=value, such as --set page_size=5")
    try:
        value = yaml.safe_load(written)
    except yaml.YAMLError:
        value = written
    place: Place = tuple(int(word) if word.isdecimal() else word for word in dotted.split("."))
    part: Any = values
    for number, word in enumerate(place[:-1]):
        try:
            if isinstance(part[word], str):
                part[word] = {"by" if word == "split" else "name": part[word]}
        except (IndexError, TypeError, KeyError):
            pass
        try:
            part = part.setdefault(word, {}) if isinstance(part, dict) else part[word]
        except (IndexError, TypeError, KeyError):
            raise ScenarioError(f"--set {setting}: nothing stands at {_dotted(place[: number + 1])}") from None
        if part is None:
            raise ScenarioError(f"--set {setting}: nothing stands at {_dotted(place[: number + 1])}")
    try:
        part[place[-1]] = value
    except (IndexError, TypeError):
        raise ScenarioError(f"--set {setting}: nothing stands at {dotted}") from None
    for known in [one for one in where if one[: len(place)] == place]:
        del where[known]  # what the file said there is gone
    where[place] = f"--set {setting}"
    sources: dict[Place, str] = {("dataset", "path"): "name", ("dataset", "name"): "path"}
    if sources.get(place) in part:  # another source: the options of the old one say nothing to it
        values["dataset"] = {place[1]: value}


def _problem(details: ErrorDetails, where: Mapping[Place, str], shown: str) -> str:
    """Return one fault of a scenario as where, which key, what and the remedy."""
    place = tuple(step for step in details["loc"] if not (isinstance(step, str) and "(" in step))
    known = place
    while known and known not in where:
        known = known[:-1]
    spot = where.get(known, shown) if known else shown
    name = _dotted(place)
    kind = details["type"]
    if kind == "extra_forbidden":
        keys = _keys(place[:-1])
        near = difflib.get_close_matches(str(place[-1]), keys, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"
        return f"{spot}, {name}: unknown key; {hint}"
    if kind == "missing":
        return f"{spot}, {name}: missing; a scenario needs it"
    message = REMEDIES.get(kind) or details["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = details["input"]
    told = "" if isinstance(given, (dict, list)) else f"is {given!r}; "
    return f"{spot}, {name}: {told}{message[:1].lower()}{message[1:]}" if name else f"{spot}: {message}"


def _keys(place: Place) -> list[str]:
    model: type[BaseModel] = SplitPart if place[:1] == ("split",) else Scenario
    return list(model.model_fields)


def _dotted(place: Place) -> str:
    return ".".join(str(step) for step in place)
