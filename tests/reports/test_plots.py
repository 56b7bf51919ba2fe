"""What the plots draw is what the event log says."""

from collections import Counter
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from simenv.metrics import measure, session_table
from simenv.reports.differences import differences_plot, spreads
from simenv.reports.exits import STAYED, exit_causes
from simenv.reports.exposure import TRAINING, exposure
from simenv.reports.satisfaction import courses
from simenv.reports.standings import standings
from simenv.reports.survival import survival
from simenv.reports.svg import apart, tag, ticks
from simenv.rundir import RunDir


def test_survival_is_the_share_of_sessions_not_yet_left(run: RunDir):
    # Users 0 to 11 leave after page u % 5 + 1, but those of u % 5 == 4 stay to the limit.
    assert survival(run.pages)["mf"] == pytest.approx(np.array([12, 9, 6, 4, 2, 2]) / 12)


def test_satisfaction_is_over_the_users_still_there(run: RunDir):
    course = courses(run.read_json("pages.json"))["mf"]

    assert course.users.tolist()[0] == 12
    assert course.mean[0] == pytest.approx(np.mean([5.0 + user % 3 for user in range(12)]))
    assert course.low[0] < course.mean[0] < course.high[0]


def test_the_plotted_interval_of_satisfaction_is_the_tables(run: RunDir):
    course, table = courses(run.read_json("pages.json"))["mf"], measure(run).pages["mf"]["S_sat"]
    for place, page in enumerate(course.pages.tolist()):
        assert (course.low[place], course.high[place]) == (table[page]["low"], table[page]["high"])


def test_every_session_ends_for_one_cause(run: RunDir):
    # Left: users 0 to 11 but 4 and 9; the even ones bored, the odd ones tired.
    assert exit_causes(run.pages)["mf"] == Counter({"bored": 5, "tired": 5, STAYED: 2})


def test_exposure_adds_up_and_starts_with_the_training_rows(run: RunDir):
    shares = exposure(run.events, run.items)

    assert next(iter(shares)) == TRAINING
    assert all(row.sum() == pytest.approx(1) for row in shares.values())
    assert np.all(np.diff(shares[TRAINING]) <= 1e-12)


def test_differences_are_between_the_same_users(run: RunDir):
    (spread,) = spreads(session_table(run), "mf", ["random"])

    # Everybody sees page 1, where mf pleases four times and random once.
    assert spread.values.tolist() == [3.0] * 12
    assert (spread.better, spread.worse) == (1.0, 0.0)


def test_labels_keep_apart_and_in_order():
    places = apart([50.0, 51.0, 52.0, 90.0, 99.0], 10, 0, 100)

    assert places == sorted(places)
    assert min(np.diff(places)) >= 10 - 1e-9
    assert 0 <= places[0] <= places[-1] <= 100


def test_ticks_are_round_and_within():
    assert ticks(0, 10, 6) == [0, 2, 4, 6, 8, 10]
    assert all(-0.3 <= tick <= 1.7 for tick in ticks(-0.3, 1.7))


def test_words_in_a_drawing_are_escaped():
    element = ElementTree.fromstring(tag("text", "<b> & co", _class='"quoted"'))

    assert element.text == "<b> & co"
    assert element.get("class") == '"quoted"'


def test_logs_with_words_for_ids_are_read_alike(run: RunDir):
    words = pa.array([str(item) for item in run.items["item_id"].to_pylist()]).dictionary_encode()
    items = run.items.set_column(0, "item_id", words.cast(pa.string()))
    shown = pa.array([str(item) for item in run.events["item_id"].to_pylist()]).dictionary_encode()
    place = run.events.column_names.index("item_id")
    events = run.events.set_column(place, "item_id", shown)

    assert exposure(events, items)["mf"] == pytest.approx(exposure(run.events, run.items)["mf"])


def test_bounds_do_not_flatten_the_spread_of_contestants(make_run: Callable[..., RunDir]):
    run = make_run({"oracle": 9.0, "mf": 4.0, "random": 1.0})

    figure = differences_plot(session_table(run), standings(run))

    assert figure is not None
    assert "random" in figure.drawing
    assert "oracle" not in figure.drawing
