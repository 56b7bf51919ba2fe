"""Where imported data sets are kept."""

import os
from pathlib import Path


def data_home() -> Path:
    """Return the folder of imported data sets: SIMENV_DATA, or one below the user's home."""
    given = os.environ.get("SIMENV_DATA")
    return Path(given).expanduser() if given else Path.home() / ".local" / "share" / "simenv" / "data"


def imported() -> list[str]:
    """Return the names of the data sets imported so far."""
    return sorted(
        file.parent.name for file in data_home().glob("*/interactions.parquet") if not file.parent.name.startswith(".")
    )
