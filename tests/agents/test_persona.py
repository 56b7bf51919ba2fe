"""What a persona says of a user can be read without a table of codes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simenv.agents.persona import compose, is_code
from simenv.dataset import Users
from simenv.films import films_world


def about(attributes: Mapping[str, Any]) -> str:
    """Return what a persona says that the data say of a user."""
    dataset = films_world(users=20, items=40).dataset
    columns = {name: np.array([value] * 20, dtype=object) for name, value in attributes.items()}
    (persona,) = compose(replace(dataset, users=Users(dataset.users.ids, columns)), [3])
    return persona.about


def test_codes_are_left_out_and_words_are_kept():
    told = about({"age_code": 1, "age_group": "Under 18", "occupation": "K-12 student", "zip_code": "48067"})

    assert told == 'age group: "Under 18", occupation: "K-12 student"'


@pytest.mark.parametrize("occupation", ["20", 20, np.int64(20), "020"])
def test_a_bare_number_is_told_only_where_its_name_says_what_it_counts(occupation: object):
    assert about({"occupation": occupation, "age": 24, "register_days": "503"}) == 'age: 24, register days: "503"'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("onehot_feat3", 1159),
        ("is_live_streamer", -124),
        ("districtId", "Mitte"),
        ("postal", "V5K 0A1"),
        ("gender", 2),
    ],
)
def test_what_is_a_code(name: str, value: object):
    assert is_code(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("age_group", "20-30"), ("fans_user_num_range", "[10,100)"), ("subscribed", True), ("yearsOfStudy", 4)],
)
def test_what_is_none(name: str, value: object):
    assert not is_code(name, value)
