"""How numbers are written: as many digits as their interval can carry, and no more."""

import math

MINUS, DASH, TO = "−", "–", " to "
MISSING = "—"
GAP = "\u00a0"  # a space at which no line breaks


def number(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return the value with the digits its interval allows, or three where it has none."""
    if value is None or not math.isfinite(value):
        return MISSING
    return _fixed(value, _decimals(value, low, high))


def interval(low: float | None, high: float | None, joint: str = TO, width: float | None = None) -> str:
    """Return an interval with the digits its width (or the one given) allows; '' where there is none."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    decimals = _decimals(low, low, high) if width is None else _decimals(low, 0.0, width)
    joint = TO if low < 0 else joint  # a dash beside a minus cannot be read
    return f"{_fixed(low, decimals)}{joint}{_fixed(high, decimals)}"


def signed(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a difference, with its sign."""
    text = number(value, low, high)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 else text


def percent(share: float) -> str:
    """Return a share as a whole percentage; what is rare but there is not written as 0."""
    if 0 < share < 0.005:
        return f"<1{GAP}%"
    if 0.995 <= share < 1:
        return f">99{GAP}%"
    return f"{share * 100:.0f}{GAP}%"


def p_value(p: float | None, *, at_floor: bool = False) -> str:
    """Return a p-value as it is commonly written; at the floor of its test it is only known to be no larger."""
    if p is None or not math.isfinite(p):
        return MISSING
    if p < 0.001:
        return f"p{GAP}<{GAP}0.001"
    sign = "≤" if at_floor else "="
    return f"p{GAP}{sign}{GAP}{p:.3f}" if p < 0.1 else f"p{GAP}{sign}{GAP}{p:.2f}"


def count(value: int) -> str:
    """Return a count with its thousands apart."""
    return f"{value:,}"


def _decimals(value: float, low: float | None, high: float | None) -> int:
    if low is not None and high is not None and 0 < high - low < math.inf:
        return min(4, max(0, 1 - math.floor(math.log10(high - low))))
    if value == 0:
        return 0 if low is not None else 2
    return min(4, max(0, 2 - math.floor(math.log10(abs(value)))))


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    if text.startswith("-"):
        text = text[1:] if float(text.replace(",", "")) == 0 else MINUS + text[1:]
    return text
