"""How sure a preference is: the run's users are shown the same pages again, with other chance."""

import numpy as np

from simenv.arrays import GradeArray
from simenv.chance import derived_seed
from simenv.errors import ScenarioError
from simenv.loop import luck_of
from simenv.pages import EMPTY, Grade, Page
from simenv.population import Closing, answered_by
from simenv.preferences.records import NONE, Records

from .fitted import fitted_population
from .names import build
from .scenario import Scenario
from .stage import set_stage

DRAWS = 24  # times that each page is shown again
SEATS = 4096  # pages shown at once


def redrawn_grades(scenario: Scenario, records: Records) -> GradeArray | None:
    """Return the grades that each candidate of a run's pages gets when chance is drawn anew: [draws, C].

    Each page begins a session of its own: what a user grew tired of on earlier pages of the log counts for nothing.
    None where the users ask a language model, which costs answers, or are code that may not be imported.
    """
    stage, chosen = set_stage(scenario), scenario.population
    try:
        population = build("population", chosen.name, chosen.options, stage.gifts)
    except ScenarioError:
        return None
    try:
        if answered_by(population).a_model:
            return None
        fitted_population(population, chosen.name, stage.split.train, options=chosen.options)
        grades = np.full((DRAWS, len(records.candidates.items)), Grade.UNSEEN, dtype=np.int8)
        for begin in range(0, len(records), SEATS):
            _redraw(population, records, np.arange(begin, min(begin + SEATS, len(records))), grades)
        return grades
    finally:
        if isinstance(population, Closing):
            population.close()


def _redraw(population, records: Records, rows, grades: GradeArray) -> None:  # type: ignore[no-untyped-def]
    """Fill in the grades of these records' candidates."""
    at = records.candidates.places(rows)
    seat = np.repeat(np.arange(len(rows)), records.candidates.lengths[rows])
    rank = records.positions[at]
    shown = rank != NONE
    at, seat, rank = at[shown], seat[shown], rank[shown]
    if not len(at):
        return
    items = np.full((len(rows), int(rank.max()) + 1), EMPTY, dtype=np.int32)
    items[seat, rank] = records.candidates.items[at]
    users = records.users[rows]
    page = Page(users, np.arange(len(rows)), records.pages[rows], items)
    for draw in range(len(grades)):
        seed = derived_seed(draw, "confidence of preferences")
        reaction = population.enter(users, luck_of(seed, users)).react(page)
        told = reaction.grades if reaction.known is None else np.where(reaction.known, reaction.grades, Grade.UNSEEN)
        grades[draw, at] = told[seat, rank]
