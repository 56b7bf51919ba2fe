"""Prompts: prose in text files, each a template; their version is a hash of them all."""

import hashlib
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

FOLDER = Path(__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=False, autoescape=False
)


@lru_cache
def prompt(name: str) -> Template:
    """Return the prompt of this name, to be rendered."""
    return _TEMPLATES.get_template(f"{name}.txt")


@lru_cache
def version() -> str:
    """Return a hash of all prompts, for the manifest."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(FOLDER.glob("*.txt")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
