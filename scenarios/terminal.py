"""What is printed for people to read: no character in it moves a cursor or turns round what follows."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from simenv.plain_text import printable


class Terminal(Console):
    """Prints as rich does, whatever ids, labels and titles from data or somebody's run hold."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what is printed, its own control sequences aside without any."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment("\n".join(map(printable, text.split("\n"))), style)


def escaped(json_text: str) -> str:
    """Return JSON that says the same in characters that can be shown."""
    return "".join(one if one.isprintable() or one == "\n" else _escape(one) for one in json_text)


def _escape(character: str) -> str:
    units: Any = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
