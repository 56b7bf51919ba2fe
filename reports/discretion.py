"""What a report keeps to itself: whole paths and addresses, which tell of a machine and its owner."""

import re
from typing import Any

ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
PATH = re.compile(r"(?:(?<=^)|(?<=[\s'\"=:,(\[]))(?:[A-Za-z]:[\\/]|~[\w.-]*/|\.{1,2}/|/)(?:[^\s'\",;:)\]/\\]+[\\/])+")
ROOT = re.compile(r"(?:(?<=^)|(?<=[\s'\"=:,(\[]))/(?=[\w.-]+)")


def without_paths(text: str) -> str:
    """Return the text with each path cut to its last part and each address left out."""
    return ROOT.sub("", PATH.sub("", ADDRESS.sub("(address left out)", text)))


def discreet(value: Any) -> Any:
    """Return a JSON value with all its words made discreet."""
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, dict):
        return {key: discreet(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [discreet(inner) for inner in value]
    return value
