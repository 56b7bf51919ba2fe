"""The key to an endpoint: it comes from the environment and is shown nowhere."""

import os

from simenv.errors import ScenarioError

VARIABLE = "OPENAI_API_KEY"
SECRET = 12  # letters that a key has at the least


class Key:
    """The key in OPENAI_API_KEY, empty where there is none."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = os.environ.get(VARIABLE, "").strip()
        if not (self._value.isascii() and self._value.isprintable()):
            raise ScenarioError(f"{VARIABLE} holds what no header can: it should be one line of plain letters")

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return f"Key({VARIABLE})"

    def reveal(self) -> str:
        """Return the key itself, for the one header that holds it."""
        return self._value

    def hide(self, body: bytes) -> bytes:
        """Return what an endpoint sent, without the key; a short word such as 'EMPTY' is none, and may be meant."""
        key = self._value.encode()
        return body.replace(key, b"(key)") if len(key) >= SECRET and key in body else body
