"""What options may be, said in one way."""

from collections.abc import Collection

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
