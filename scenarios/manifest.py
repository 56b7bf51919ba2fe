"""What a run's folder says of the run: enough to repeat it, and to tell it from another."""

import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import simenv
from simenv.errors import RunError
from simenv.plain_text import without_secret_path
from simenv.population import Population, Telling, answered_by
from simenv.reports.compare import settings_of
from simenv.splits import Split

from .stage import Stage

NOT_MEASURED = {"verdict": "not measured", "note": ""}


def make_manifest(stage: Stage, population: Population, command: str) -> dict[str, Any]:
    """Return the manifest of a run that begins."""
    scenario = stage.scenario
    facts = dict(population.facts()) if isinstance(population, Telling) else {}
    return {
        "simenv": simenv.__version__,
        "scenario": scenario.name,
        "question": scenario.question,
        "status": "running",
        "dataset": data_facts(stage.split),
        "population": {"name": scenario.population.name, "options": _plain(scenario.population.options), **facts},
        "answered_by": answered_by(population).plain(),
        "policies": [
            {"label": policy.label, "name": policy.name, "options": _plain(policy.options)}
            for policy in scenario.policies
        ],
        "seeds": scenario.seeds,
        "users": len(stage.users),
        "page_size": scenario.page_size,
        "max_pages": scenario.max_pages,
        "leave_out_past": scenario.leave_out_past,
        "leave_out_shown": scenario.leave_out_shown,
        "offline": scenario.offline,
        "fidelity": NOT_MEASURED,
        "empty_places": {},
        "seconds": {},
        "versions": versions(),
        "command": command,
    }


def _plain(value: Any) -> Any:
    """Return options as JSON holds them: what it has no word for, such as infinity or a date, as text."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return without_secret_path(value)
    known = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if known else str(value)


def data_facts(split: Split) -> dict[str, Any]:
    """Return what tells these rows, held out in this way, from any others."""
    train = split.train
    return {
        "name": train.name,
        "is_synthetic": train.is_synthetic,
        "fingerprint": train.fingerprint,
        "users": len(train.users),
        "items": len(train.catalog),
        "train_rows": len(train.interactions),
        "test_rows": len(split.test),
        "test_fingerprint": train.only(split.test).fingerprint,
        "split": split.protocol,
    }


def versions() -> dict[str, str]:
    """Return the versions of what the figures rest on."""
    return {"python": platform.python_version(), "numpy": np.__version__} | {
        name: version(name) for name in ("scipy", "numba", "pyarrow")
    }


SAME = (
    "simenv", "dataset", "population", "policies", "seeds", "users", "page_size", "max_pages",
    "leave_out_past", "leave_out_shown", "offline",
)  # fmt: skip


def check_same(there: dict[str, Any], here: dict[str, Any], folder: Path) -> None:
    """Say so when the run in the folder is another one than that to be resumed."""
    before, now = ({name: _lasting(told.get(name)) for name in SAME} for told in (there, here))
    differing = [f"{one.name} {one.one} and this one {one.other}" for one in settings_of(before, now)]
    if before != now:
        raise RunError(
            f"{folder}: cannot resume, the run there has {', '.join(differing) or 'its policies in another order'};"
            " use the same scenario and settings, or another --out"
        )


def _lasting(value: Any) -> Any:
    """Return a population without how its model is asked, and how much may fail: no row of the log follows from that.

    What answers do follow from stands beside the options.
    """
    if not (isinstance(value, dict) and "model" in value and "options" in value):
        return value
    options = {name: one for name, one in value["options"].items() if name not in ("model", "most_failed")}
    return {name: one for name, one in value.items() if name != "most_failed"} | {"options": options}
