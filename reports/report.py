"""The report of a run: one HTML file that opens anywhere, with nothing to fetch."""

import logging
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simenv.metrics import session_table
from simenv.rundir import RunDir

from .differences import differences_plot
from .discretion import discreet
from .exits import exits_plot
from .exposure import exposure_plot
from .satisfaction import satisfaction_plot
from .standings import Standings, standings
from .survival import survival_plot
from .svg import Figure
from .tables import empty_places, facts, glossary, groups, pair_rows, policy_facts
from .verdict import names, verdict

TEMPLATES = Path(__file__).parent / "templates"
logger = logging.getLogger(__name__)


def write_report(run: RunDir) -> Path:
    """Write `report.html` into the run's folder and return its path."""
    run.write_text("report.html", report(run))
    path = run.folder / "report.html"
    logger.info("report: %s, %.0f KB", path.name, path.stat().st_size / 1000)
    return path


def report(run: RunDir) -> str:
    """Return the whole report as HTML."""
    stands = standings(run)
    manifest = discreet(dict(run.manifest))
    return page(
        "report.html.jinja",
        kind="report",
        title=manifest.get("scenario") or "a scenario",
        question=manifest.get("question") or "",
        verdict=verdict(run, stands),
        groups=groups(stands),
        contested=len(stands.contestants) > 1,
        bounds=names(stands.bounds),
        gaps=empty_places(manifest),
        figures=figures(run, stands),
        pairs=pair_rows(stands),
        facts=facts(manifest),
        policies=policy_facts(manifest),
        glossary=glossary(stands),
    )


def figures(run: RunDir, stands: Standings) -> list[Figure]:
    """Return the plots: who stays, how happy they are, why they leave, what was shown, and who gains."""
    drawn = [
        survival_plot(run.pages, stands),
        satisfaction_plot(run.pages, stands),
        exits_plot(run.pages, stands),
        exposure_plot(run.events, run.items, stands),
        differences_plot(session_table(run), stands),
    ]
    return [figure for figure in drawn if figure is not None]


def page(template: str, **words: Any) -> str:
    """Return a whole page, set from a template."""
    loader = FileSystemLoader(TEMPLATES)
    house = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return house.get_template(template).render(**words)
