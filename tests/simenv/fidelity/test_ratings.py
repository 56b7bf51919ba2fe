"""Ratings are held against the real ones, and against those of items that chance showed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simenv.agents.choice import ChoicePopulation
from simenv.fidelity.bench import Bench
from simenv.fidelity.ratings import ratings, shown_at_random
from simenv.interactions import Interactions
from simenv.readers import open_dataset
from simenv.splits import as_published

COAT = Path(__file__).parents[3] / ".." / "shared" / "data" / "coat"


def test_rows_of_which_each_item_has_as_many_were_shown_at_random(faithful: Bench):
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(200), 16)
    drawn, _ = Interactions.sort(users, rng.integers(400, size=len(users)))

    assert shown_at_random(faithful.train, drawn)
    assert not shown_at_random(faithful.train, faithful.train.interactions)


def test_implicit_data_have_no_ratings_to_hold_against(faithful: Bench):
    silent = replace(faithful.split.test, ratings=np.full(len(faithful.split.test), np.nan, np.float32))
    split = replace(faithful.split, test=silent, valid=silent)

    assert ratings(replace(faithful, split=split)).word == "not measured"


@pytest.mark.skipif(not COAT.is_dir(), reason="no coat beside the repository")
def test_coats_randomly_shown_items_are_told_from_chosen_ones():
    split = as_published(open_dataset(COAT))
    population = ChoicePopulation()
    population.fit(split.train)
    users = np.arange(len(split.train.users))
    found = ratings(Bench(population, split, users, {}))

    assert any("of randomly shown items" in figure.name for figure in found.figures)
    assert found.word == "pass", found.note
