"""The report of a run: one HTML file that opens anywhere, with nothing to fetch."""

import logging
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from simenv.metrics import session_table
from simenv.rundir import RunDir

from .asked import KINDS, reading_rows, readings, too_many, who
from .differences import differences_plot
from .discretion import discreet
from .exits import exits_plot
from .exposure import exposure_plot
from .fidelity import section
from .interviews import VERDICT, interviews, interviews_plot
from .quotes import spoken
from .satisfaction import satisfaction_plot
from .sessions import viewer
from .standings import Standings, standings
from .survival import survival_plot
from .svg import Figure
from .tables import empty_places, facts, glossary, group_of, groups, pair_rows, policy_facts
from .verdict import names, scripted, verdict

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
        asked=_asked(run, stands),
        kinds=KINDS,
        interview=(interview := _interview(run, stands)),
        spoken=spoken(run.pages, stands),
        scripted=scripted(manifest),
        viewer=viewer(run, stands),
        pairs=pair_rows(stands),
        fidelity=section(run),
        facts=facts(manifest),
        policies=policy_facts(manifest),
        glossary=glossary(stands) + (interview["glossary"] if interview else []),
    )


def figures(run: RunDir, stands: Standings) -> list[Figure]:
    """Return the plots: who stays, how happy they are, why they leave, what was shown, and who gains."""
    drawn = [
        survival_plot(run.pages, stands),
        satisfaction_plot(run.read_json("pages.json"), stands),
        exits_plot(run.pages, stands),
        exposure_plot(run.events, run.items, stands),
        differences_plot(session_table(run), stands),
    ]
    return [figure for figure in drawn if figure is not None]


def _asked(run: RunDir, stands: Standings) -> dict[str, Any] | None:
    """Return who was asked in words and how the answers were read; None where nobody was."""
    found = readings(run, stands)
    if found is None:
        return None
    return {"who": who(run), "readings": found, "rows": reading_rows(found, stands), "alarm": too_many(found)}


def _interview(run: RunDir, stands: Standings) -> dict[str, Any] | None:
    """Return the verdicts after leaving, as tables and a plot; None where there are none."""
    found = interviews(run.pages, stands)
    if found is None:
        return None
    note = (
        f"Means over users, with 95 % intervals. Only users who left were asked, in sessions: {found.asked}."
        f" Left out, with how they liked their pages: {found.left_out}. {found.doubt}{'.' if found.doubt else ''}"
    ).rstrip()
    return {
        "group": group_of(
            found.stands, "What they said after leaving", note, [VERDICT, "their pages", "verdict − pages"]
        ),
        "figure": interviews_plot(found, stands),
        "pairs": pair_rows(found.stands),
        "glossary": glossary(found.stands),
    }


def page(template: str, **words: Any) -> str:
    """Return a whole page, set from a template."""
    loader = FileSystemLoader(TEMPLATES)
    house = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return house.get_template(template).render(**words)
