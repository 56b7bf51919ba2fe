"""The name that simenv is distributed under, which is not the name it is imported by.

On the public index `simenv` is somebody else's package, so no message may advise to install that.
"""

from importlib.metadata import PackageNotFoundError, requires

NAME = "simenv-recsys"
FORMER = "simenv"  # of checkouts that were installed before the name was chosen


def install_hint(extra: str) -> str:
    """Return how an extra is installed. Nothing is published yet, so that is from a checkout of simenv."""
    return f"pip install -e '.[{extra}]' in your checkout of simenv"


def requirements() -> list[str]:
    """Return what simenv's installed metadata says that it requires, extras included; [] where it is not installed."""
    for name in (NAME, FORMER):
        try:
            found = requires(name) or []
        except PackageNotFoundError:
            continue
        if any(line.startswith("gymnasium") for line in found):  # ours, and not the stranger's of the former name
            return found
    return []
