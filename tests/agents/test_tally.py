"""A run is stopped early where too many answers surely cannot be read, whatever their order."""

import pytest

from simenv.agents.tally import Tally
from simenv.chat.asking import Outcome
from simenv.errors import PopulationError

READ, UNREAD = Outcome(None, "plain", 1), Outcome(None, "failed", 1, complaint="it is not one whole JSON object")


def test_a_few_that_fail_together_stop_no_run_in_which_few_fail():
    tally = Tally(0.05)
    for outcome in [READ] * 46 + [UNREAD] * 5 + [READ] * 949:
        tally.note("page", outcome)
    assert tally.counts == {("page", "plain"): 995, ("page", "failed"): 5}


@pytest.mark.parametrize(("most", "failed"), [(0.0, 1), (0.05, 13), (0.25, 29)])
def test_more_than_luck_explains_stop_it(most: float, failed: int):
    tally = Tally(most)
    for outcome in [READ] * (50 - failed) + [UNREAD] * (failed - 1):
        tally.note("page", outcome)
    with pytest.raises(PopulationError, match=f"{failed} of the first 50 questions .* the last: it is not one whole"):
        tally.note("page", UNREAD)


def test_none_that_can_be_read_stops_it_at_once():
    tally = Tally(0.05)
    for _ in range(4):
        tally.note("page", UNREAD)
    with pytest.raises(PopulationError, match="5 of the first 5 questions"):
        tally.note("page", UNREAD)
