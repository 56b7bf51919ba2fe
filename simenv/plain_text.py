"""Text from data made safe to show: one line, no control characters, quoted where it stands in a prompt.

Titles, categories and descriptions come from anywhere. A line break in one would begin a line of a prompt, an escape
sequence would move a terminal's cursor, and a right-to-left mark would turn round what follows it.
"""

import unicodedata
from urllib.parse import urlsplit

SPACES = {"Cc", "Zl", "Zp", "Zs"}  # control characters and separators become a space
DROPPED = {"Cf", "Cs"}  # marks of direction, joiners and halves of characters vanish
MOST_QUOTED = 200  # characters of a title or category in a prompt


def one_line(text: str) -> str:
    """Return the text in one line, its spaces single, without control or direction characters."""
    if text.isprintable() and "  " not in text and text == text.strip():
        return text
    return " ".join("".join(map(_visible, text)).split())


def printable(text: str) -> str:
    """Return the text to show: its lines as they are, without any other control or direction character."""
    return "\n".join("".join(map(_visible, line)) for line in text.splitlines())


def quoted(text: str, most: int = MOST_QUOTED) -> str:
    """Return the text as a prompt shows what data say: one line between double quotes, of which it has none inside."""
    return f'"{_cut(one_line(text), most).replace(chr(34), chr(39))}"'


def bracketed(names: "tuple[str, ...] | list[str]", most: int = MOST_QUOTED) -> str:
    """Return names, such as categories, between square brackets, of which they have none inside; '' for no names."""
    plain = [_cut(one_line(name), most).translate(_ROUND) for name in names]
    return f"[{', '.join(filter(None, plain))}]" if any(plain) else ""


def without_secret_path(url: str) -> str:
    """Return an address as far as it can be told: some gateways take a key as a part of the path."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    origin = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
    return origin + (parts.path if parts.path in ("", "/", "/v1", "/v1/") else "/…")


def is_cut(url: str) -> bool:
    """Tell whether an address is one whose path was left out."""
    return url.endswith("/…")


_ROUND = str.maketrans({"[": "(", "]": ")", '"': "'"})


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _visible(character: str) -> str:
    kind = unicodedata.category(character)
    return " " if kind in SPACES else "" if kind in DROPPED else character
