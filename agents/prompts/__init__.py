"""Prompts: prose in text files, each a template; their version is a hash of them all."""

import hashlib
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from simenv.plain_text import quoted

FOLDER = Path(__file__).parent
MOST_TEXT = 500  # characters of what is said of an item
_TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=False, autoescape=False
)
_TEMPLATES.filters["quoted"] = lambda text: quoted(text, MOST_TEXT)  # what data or a model say stands in quotes


@lru_cache
def prompt(name: str) -> Template:
    """Return the prompt of this name, to be rendered."""
    return _TEMPLATES.get_template(f"{name}.txt")


def filled(name: str, **values: str) -> str:
    """Return a prompt whose values stand in it as they are, or are left out: the same as `render`, in a tenth of it."""
    parts = list(_parts(name, tuple(values), tuple(map(bool, values.values()))))
    parts[1::2] = [values[between] for between in parts[1::2]]
    return "".join(parts)


@lru_cache
def _parts(name: str, names: tuple[str, ...], told: tuple[bool, ...]) -> tuple[str, ...]:
    """Return what stands around the values, and the names of those between."""
    marks = {value: f"\0{value}\0" if is_told else "" for value, is_told in zip(names, told, strict=True)}
    return tuple(prompt(name).render(marks).split("\0"))


@lru_cache
def version() -> str:
    """Return a hash of all prompts, for the manifest."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(FOLDER.glob("*.txt")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
