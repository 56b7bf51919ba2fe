"""The key to an endpoint: it comes from the environment and is shown nowhere."""

import os

from simenv.errors import ScenarioError

VARIABLE = "OPENAI_API_KEY"


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

    def hide(self, text: str) -> str:
        """Return a text without the key."""
        return text.replace(self._value, "(key)") if self._value else text
