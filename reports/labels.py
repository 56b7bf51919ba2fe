"""How wide words are, and how names are made short enough for their place without becoming alike."""

import unicodedata
from collections.abc import Callable, Sequence

NAME, TICK = 13.0, 12.0  # the largest sizes, in the units of a drawing, that the style sheet gives to names and ticks
CUT = "…"
# Advance widths of DejaVu Sans from space to tilde, in thousandths of the size: the widest face among those that the
# style sheet names, so what fits by these widths fits in all of them.
WIDTHS = (
    "318 401 460 838 636 950 780 275 390 390 500 838 318 361 318 337 636 636 636 636 636 636 636 636 636 636 337 337"
    " 838 838 838 531 1000 684 686 698 770 632 575 775 752 295 295 656 557 863 748 787 603 787 695 635 611 732 684 989"
    " 685 611 685 390 337 390 838 500 500 613 635 550 635 615 352 635 634 278 278 579 278 974 634 612 635 635 411 521"
    " 392 634 592 818 592 592 525 636 337 636 838"
)
WIDTH_OF = {chr(place): int(width) / 1000 for place, width in enumerate(WIDTHS.split(), 32)} | {"\u00a0": 0.318}
BOLD = 1.12  # how much wider a bold face is, at most


def text_width(words: str, size: float = TICK) -> float:
    """Return how wide words are, at most, in the units of their font size."""
    return size * sum(WIDTH_OF.get(letter) or (1.0 if _is_wide(letter) else 0.84) for letter in words)


def fits(room: float, size: float = NAME) -> Callable[[str], bool]:
    """Return a test of whether words are no wider than a place."""
    return lambda words: text_width(words, size) <= room


def short_names(names: Sequence[str], is_short: Callable[[str], bool]) -> dict[str, str]:
    """Return each name as it is, or with its middle cut out where it is too long; no two names become alike.

    As much of the beginning is kept as of the end, unless that makes two names alike: then the cut moves to where
    they are the same. Names that differ only in what is always cut are numbered.
    """
    long = [name for name in dict.fromkeys(names) if not is_short(name)]
    short = {name: name for name in names if name not in long}
    steps = range(11)
    tries = [_cut_all(long, share / 10, is_short) for share in sorted(steps, key=lambda step: abs(step - 5))]
    best = max(tries, key=lambda cut: len({*cut.values(), *short.values()}), default={})
    return {name: ({**short, **_numbered(best, set(short.values()), is_short)})[name] for name in names}


def lines_of(name: str, room: float, size: float = NAME) -> list[str]:
    """Return a name in one line, or in two where it can be parted at a mark; [] where it is too long even so."""
    if text_width(name, size) <= room:
        return [name]
    marks = [place for place, letter in enumerate(name[:-1], 1) if letter in "-_. /"]
    parted = [(name[:place].rstrip(), name[place:]) for place in marks]
    widths = [max(text_width(part, size) for part in pair) for pair in parted]
    return list(parted[widths.index(min(widths))]) if widths and min(widths) <= room else []


def set_beside(names: Sequence[str], room: float) -> dict[str, list[str]]:
    """Return each name's lines where it stands beside a row: one, or two, or one with its middle cut out."""
    lines = {name: lines_of(name, room) for name in names}
    cut = short_names([name for name in names if not lines[name]], fits(room))
    return {name: lines[name] or [cut[name]] for name in names}


def _cut_all(names: Sequence[str], share: float, is_short: Callable[[str], bool]) -> dict[str, str]:
    return {name: _cut(name, share, is_short) for name in names}


def _cut(name: str, share: float, is_short: Callable[[str], bool], mark: str = CUT) -> str:
    """Return as much of a name as is short, this share of it from the beginning and the rest from the end."""
    for kept in range(len(name) - 1, 0, -1):
        head = round(kept * share)
        cut = name[:head] + mark + name[len(name) - (kept - head) :]
        if is_short(cut):
            return cut
    return mark


def _numbered(cut: dict[str, str], taken: set[str], is_short: Callable[[str], bool]) -> dict[str, str]:
    """Return the names with a number in the cut of each that would be like another."""
    found: dict[str, str] = {}
    for name, short in cut.items():
        number = 1
        while short in taken:
            number += 1
            short = _cut(name, 0.5, is_short, f"{CUT}{number}{CUT}")
        taken.add(short)
        found[name] = short
    return found


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF" or letter in "—…"
