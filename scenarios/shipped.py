"""Where scenarios and trainings lie: files of one's own, and those that come with simenv; light to import."""

import difflib
from pathlib import Path

from simenv.errors import ScenarioError

SHIPPED = Path(__file__).parent / "files"


def shipped(folder: Path = SHIPPED) -> dict[str, Path]:
    """Return the scenarios that come with simenv, by name."""
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def source_file(source: str, folder: Path = SHIPPED, what: str = "scenario") -> Path:
    """Return the file that a source names, one's own or one of a folder of those that are shipped."""
    path, known = Path(source), shipped(folder)
    if not path.is_file() and source in known:
        path = known[source]
    if not path.is_file():
        near = difflib.get_close_matches(source, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ScenarioError(f"{source}: no such {what} file; shipped {what}s are {', '.join(known)}{hint}")
    return path
