"""Agents hear and give stars, whatever scale the data have."""

from dataclasses import replace

import numpy as np

from simenv.agents.llm import LLMPopulation
from simenv.agents.stars import Stars, stars_of
from simenv.dataset import Dataset
from simenv.splits import Split


def scaled(dataset: Dataset, factor: float) -> Dataset:
    log = dataset.interactions
    return replace(dataset, interactions=replace(log, ratings=log.ratings * factor))


def test_stars_and_back_are_the_same():
    own = np.array([0.0, 2.5, 10.0, np.nan])
    scale = Stars(0.0, 10.0)
    assert np.array_equal(scale.of(own), [1.0, 2.0, 5.0, np.nan], equal_nan=True)
    assert np.array_equal(scale.back(scale.of(own)), own, equal_nan=True)
    assert np.isnan(Stars(np.nan, np.nan).back(own)).all()


def test_an_agent_hears_the_same_of_the_same_ratings_on_another_scale(split: Split):
    plain, double = (LLMPopulation(personas="written", show=["rating"]) for _ in range(2))
    plain.fit(split.train)
    twice = scaled(split.train, 2.0)
    double.fit(twice)
    assert stars_of(twice).low == 2 * stars_of(split.train).low
    for user in range(5):
        assert double.persona(user) == plain.persona(user)
        assert double.writer.portrait(user) == plain.writer.portrait(user)
    for item in range(10):
        assert double.shelf.shown(item) == plain.shelf.shown(item)
