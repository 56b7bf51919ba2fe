"""What options may be, said in one way."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np

from simenv.errors import SimenvError


def check_whole(*, least: int = 1, **options: object) -> None:
    """Refuse an option that is no whole number of at least `least`."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise SimenvError(f"{name} is {value!r}; it must be a whole number, at least {least}")


def check_number(
    *, least: float | None = None, above: float | None = None, most: float | None = None, **options: object
) -> None:
    """Refuse an option that is no number of at least `least`, above `above` and at most `most`."""
    limits = [f"at least {least:g}"] if least is not None else []
    limits += [f"above {above:g}"] if above is not None else []
    limits += [f"at most {most:g}"] if most is not None else []
    for name, value in options.items():
        number = float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else np.nan
        good = np.isfinite(number) and (least is None or number >= least) and (above is None or number > above)
        if not good or (most is not None and number > most):
            raise SimenvError(f"{name} is {value!r}; it must be a number{', ' * bool(limits)}{' and '.join(limits)}")


def check_choice(known: Collection[str], **options: object) -> None:
    """Refuse an option that is none of those known."""
    for name, value in options.items():
        if value not in known:
            raise SimenvError(f"no {name} {value!r}; there are {', '.join(known)}")


def complaint(error: Exception) -> str:
    """Return what Python says of a call with the wrong arguments in the words of one who writes options."""
    text = str(error)
    if missing := re.search(r"missing \d+ required .*argument[s]?: (.+)$", text):
        return f"needs {missing[1].replace(chr(39), '')}"
    if unexpected := re.search(r"unexpected keyword argument '(\w+)'", text):
        return f"takes no option '{unexpected[1]}'"
    if re.search(r"argument after \*\* must be a mapping", text):
        return "must be a mapping of options to values"
    return text


def words_of(annotation: Any) -> str:
    """Return what an option of this type may be, in the words of one who writes YAML; "" if that is not known."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *notes = get_args(annotation)
        return ", ".join([words_of(inner), *(note for note in notes if isinstance(note, str))])
    if origin in (Union, UnionType):
        return " or ".join(filter(None, map(words_of, get_args(annotation))))
    if origin is Literal:
        return " or ".join(map(yaml_of, get_args(annotation)))
    return WORDS.get(origin or annotation, "")


def may_be(value: object, annotation: Any) -> bool:
    """Tell whether an option's value is of its type, as far as a type is known to tell."""
    origin = get_origin(annotation) or annotation
    if origin is Annotated:
        return may_be(value, get_args(annotation)[0])
    if origin in (Union, UnionType):
        return any(may_be(value, one) for one in get_args(annotation))
    if origin is Literal:
        return value in get_args(annotation)
    wanted = TYPES.get(origin)
    if wanted is None or (isinstance(value, bool) and origin is not bool):
        return wanted is None
    return isinstance(value, wanted)


def yaml_of(value: object) -> str:
    """Return a value as a scenario has it."""
    if isinstance(value, bool | NoneType):
        return {True: "true", False: "false", None: "null"}[value]
    return f"[{', '.join(map(yaml_of, value))}]" if isinstance(value, list | tuple) else str(value)


WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "a path",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    dict: "a mapping",
    Mapping: "a mapping",
    NoneType: "null",
}
TYPES: dict[Any, Any] = {
    bool: bool | np.bool_,
    int: int | np.integer,
    float: int | float | np.number,
    str: str,
    Path: str | Path,
    list: list | tuple,
    tuple: list | tuple,
    Sequence: list | tuple,
    dict: Mapping,
    Mapping: Mapping,
    NoneType: NoneType,
}
