"""What a YAML file, flags and `--set` say, and where each of it was said: errors name file, line, key and remedy."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from simenv.errors import ScenarioError
from simenv.plain_text import without_secret_path

REMEDIES = {
    "too_short": "empty; give at least 1",
    "string_pattern_mismatch": "use letters, digits, '.', '_' and '-', and begin with a letter or digit",
    "model_type": "should be a name, or a mapping with a name",
    "dict_type": "should be a mapping of keys to values",
    "list_type": "should be a list",
}
MOST_DEEP = 20
Place = tuple[str | int, ...]


class Part(BaseModel):
    """What a file may say, or a part of it; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    noun: ClassVar[str] = "a scenario"

    def text(self) -> str:
        """Return it as YAML with all values used; an address keeps no path that may hold a key."""
        return yaml.safe_dump(_told_to_all(self.model_dump()), sort_keys=False, allow_unicode=True)


Said = TypeVar("Said", bound=Part)


@dataclass(slots=True)
class Told:
    """Values to be checked, and where each was given."""

    values: dict[str, Any]
    where: dict[Place, str] = field(default_factory=dict)
    shown: str = "scenario"

    @staticmethod
    def read(path: Path, shown: str) -> "Told":
        """Return what a YAML file says."""
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{shown}: not UTF-8 text at byte {error.start}; save it as UTF-8") from None
        values, lines = parse(text, shown)
        return Told(values, {place: f"{shown}, line {line}" for place, line in lines.items()}, shown)

    def put(self, place: Place, value: Any, said: str) -> None:
        """Lay one value over the others; `said` tells where it comes from."""
        part: Any = self.values
        for number, word in enumerate(place[:-1]):
            try:
                if isinstance(part[word], str):
                    part[word] = {"by" if word == "split" else "name": part[word]}
            except (IndexError, TypeError, KeyError):
                pass
            try:
                part = part.setdefault(word, {}) if isinstance(part, dict) else part[word]
            except (IndexError, TypeError, KeyError):
                raise ScenarioError(f"{said}: nothing stands at {_dotted(place[: number + 1])}") from None
            if part is None:
                raise ScenarioError(f"{said}: nothing stands at {_dotted(place[: number + 1])}")
        try:
            part[place[-1]] = value
        except (IndexError, TypeError):
            raise ScenarioError(f"{said}: nothing stands at {_dotted(place)}") from None
        for known in [one for one in self.where if one[: len(place)] == place]:
            del self.where[known]  # what the file said there is gone
        self.where[place] = said
        sources: dict[Place, str] = {("dataset", "path"): "name", ("dataset", "name"): "path"}
        if sources.get(place) in part:  # another source: the options of the old one say nothing to it
            self.values["dataset"] = {place[1]: value}

    def lay(self, settings: Sequence[str]) -> None:
        """Lay `key=value` settings over the values; dots go into parts, numbers into lists."""
        for setting in settings:
            dotted, value = assigned("--set", setting, "page_size=5")
            place: Place = tuple(int(word) if word.isdecimal() else word for word in dotted.split("."))
            self.put(place, value, f"--set {setting}")

    def check(self, kind: type[Said]) -> Said:
        """Return the values, checked, or say what is wrong with which, and where each was given."""
        try:
            return kind.model_validate(self.values)
        except ValidationError as error:
            problems = [self._problem(details, kind) for details in error.errors()]
            raise ScenarioError("\n".join(dict.fromkeys(problems))) from None

    def _problem(self, details: ErrorDetails, kind: type[Part]) -> str:
        """Return one fault as where, which key, what and the remedy."""
        place = tuple(step for step in details["loc"] if not (isinstance(step, str) and "(" in step))
        known = place
        while known and known not in self.where:
            known = known[:-1]
        spot = self.where.get(known, self.shown) if known else self.shown
        name = _dotted(place)
        fault = details["type"]
        if fault == "extra_forbidden":
            keys = _keys(place[:-1], kind)
            near = difflib.get_close_matches(str(place[-1]), keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"
            return f"{spot}, {name}: unknown key; {hint}"
        if fault == "missing":
            return f"{spot}, {name}: missing; {kind.noun} needs it"
        message = REMEDIES.get(fault) or details["msg"].removeprefix("Value error, ").removeprefix("Input ")
        given = details["input"]
        told = "" if isinstance(given, (dict, list)) else f"is {given!r}; "
        return f"{spot}, {name}: {told}{message[:1].lower()}{message[1:]}" if name else f"{spot}: {message}"


def _told_to_all(value: Any) -> Any:
    """Return values with the addresses of endpoints as they may be told."""
    if isinstance(value, dict):
        return {
            name: without_secret_path(one) if name == "base_url" and isinstance(one, str) else _told_to_all(one)
            for name, one in value.items()
        }
    return [_told_to_all(one) for one in value] if isinstance(value, list) else value


def assigned(flag: str, setting: str, example: str) -> tuple[str, Any]:
    """Return the key and the value of a `key=value` that a flag was given."""
    key, equals, written = setting.partition("=")
    if not equals or not key:
        raise ScenarioError(f"{flag} {setting}: write it as key=value, such as {flag} {example}")
    try:
        return key, yaml.safe_load(written)
    except (yaml.YAMLError, ValueError):  # PyYAML takes 2024-13-45 for a date and fails
        return key, written


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
    except (yaml.YAMLError, ValueError) as error:  # such as 2024-13-45, which PyYAML takes for a date
        raise ScenarioError(f"{shown}: not readable as YAML: {error}; put text in quotes") from None
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


def _keys(place: Place, kind: type[BaseModel]) -> list[str]:
    """Return the keys of the part at this place."""
    for step in place:
        field = kind.model_fields.get(str(step))
        parts = [] if field is None else [field.annotation, *get_args(field.annotation)]
        kind = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), kind)
    return list(kind.model_fields)


def _dotted(place: Place) -> str:
    return ".".join(str(step) for step in place)
