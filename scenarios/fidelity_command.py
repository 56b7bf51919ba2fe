"""`simenv fidelity`: holds the population of a scenario or a run against real users."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simenv.errors import SimenvError
from simenv.rundir import RunDir

from .fidelity import FIDELITY, brief, measured, why_not, with_log
from .names import build
from .runner import answers_of
from .scenario import Scenario, code_of, read_scenario
from .stage import set_stage
from .steps import Watcher


@dataclass(frozen=True, slots=True)
class Held:
    """What came of holding users against real ones, and whether the run that they were taken from keeps it."""

    found: dict[str, Any]
    not_kept: str = ""  # why the run's manifest and report do not tell it; '' where they do, or there is no run


def fidelity(
    source: str,
    settings: Sequence[str] = (),
    *,
    out: Path | None = None,
    fresh: bool = False,
    allow_code: bool = False,
    watch: Watcher = lambda _: None,
) -> Held:
    """Return what the battery finds of the population of a scenario, or of a run, into whose folder it is written.

    A run keeps what was found of its own users alone: settings may change how they are measured, not who they are.
    Code that a run names is imported with `allow_code` alone.
    """
    folder = Path(source)
    is_run = (folder / "scenario.yaml").is_file()
    scenario = read_scenario(str(folder / "scenario.yaml") if is_run else source, settings)
    if not scenario.fidelity.measure:
        part = scenario.fidelity.model_copy(update={"measure": True})
        scenario = scenario.model_copy(update={"fidelity": part})
    with code_of(source, allow_code=allow_code):
        found = _found(scenario, folder if is_run else out or Path("runs") / scenario.name, fresh, watch)
    others = others_than(folder, scenario, settings) if is_run else ""
    if is_run and not others:
        keep(RunDir.open(folder), found)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / FIDELITY).write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Held(found, others)


def others_than(folder: Path, scenario: Scenario, settings: Sequence[str]) -> str:
    """Return why what is found of a scenario's users says nothing of a run's; '' where it does."""
    own = read_scenario(str(folder / "scenario.yaml"))
    here, there = (one.model_dump(exclude={"fidelity"}) for one in (scenario, own))
    if here == there:
        return ""
    changed = ", ".join(name for name in here if here[name] != there[name])
    return (
        f"{folder}: its report and manifest keep no word of this, since --set changed what the run was played with"
        f" ({changed}; {' '.join(settings)}); only keys below fidelity may differ"
    )


def keep(run: RunDir, found: dict[str, Any]) -> None:
    """Write what was found into a run: beside its log, into its manifest, and into its report."""
    from simenv.reports.report import write_report

    if run.manifest["status"] == "complete":
        found = with_log(found, run)
    run.write_json(FIDELITY, found)
    run.write_json("manifest.json", run.manifest | {"fidelity": brief(found)})
    if (run.folder / "metrics.json").is_file():
        write_report(RunDir.open(run.folder))


def _found(scenario: Scenario, folder: Path, fresh: bool, watch: Watcher) -> dict[str, Any]:
    stage = set_stage(scenario)
    answers = answers_of(folder, None)
    chosen = scenario.population
    population = build("population", chosen.name, chosen.options, stage.gifts | {"answers": answers})
    why = why_not(stage, population)
    if why:
        raise SimenvError(f"population '{chosen.name}' cannot be held against real users: {why}")
    answers.check()
    found = measured(stage, population, answers, fresh=fresh, watch=watch)
    assert found is not None
    return found
