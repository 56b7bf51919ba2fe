"""The sentence claims what the comparisons carry, and not more."""

from collections.abc import Callable

from simenv.films import films_world
from simenv.population import AnsweredBy
from simenv.reports.verdict import trust, verdict
from simenv.rundir import RunDir
from simenv.scenarios.manifest import data_facts
from simenv.splits import leave_one_out

MakeRun = Callable[..., RunDir]


def test_a_clear_leader_is_named_with_its_margin(run: RunDir):
    found = verdict(run)

    assert found.leader == "mf"
    assert found.sentence.startswith("mf leads with 4.00 likes per session, 1.00 more than popular")
    assert "0.90 to 1.10" in found.sentence
    assert found.sentence.endswith("the difference holds after correction.")


def test_intervals_that_cross_zero_tell_no_difference(make_run: MakeRun):
    found = verdict(make_run({"mf": 4.0, "popular": 3.9, "random": 1.0}, width=0.6, p=0.3))

    assert found.leader is None
    assert found.sentence.startswith("No difference could be told between mf, popular and random")


def test_a_small_p_does_not_outvote_an_interval_that_crosses_zero(make_run: MakeRun):
    found = verdict(make_run({"mf": 4.0, "popular": 3.9}, width=0.6, p=0.001))

    assert found.sentence.startswith("No difference could be told between mf and popular")


def test_a_difference_lost_to_correction_is_no_difference(make_run: MakeRun):
    found = verdict(make_run({"mf": 4.0, "popular": 3.0}, p=0.08))

    assert found.leader is None
    assert "does not hold after correction" in found.sentence


def test_an_oracle_never_leads(make_run: MakeRun):
    for bound in ("oracle", "anti-oracle", "Anti_Oracle"):
        found = verdict(make_run({bound: 9.0, "mf": 4.0, "random": 1.0}, folder=bound))

        assert found.leader == "mf"
        assert bound not in found.sentence


def test_an_oracle_under_another_label_never_leads(make_run: MakeRun):
    policies = [{"label": "top", "name": "oracle"}, {"label": "mf", "name": "mf"}]

    assert "top" not in verdict(make_run({"top": 9.0, "mf": 4.0}, policies=policies)).sentence


def test_bounds_alone_judge_nobody(make_run: MakeRun):
    found = verdict(make_run({"oracle": 9.0, "anti-oracle": 0.0}))

    assert found.sentence == "Only bounds were run (oracle and anti-oracle); there is nobody to judge."


def test_without_comparisons_nobody_is_named_for_certain(run: RunDir):
    run.write_json("comparisons.json", [])

    found = verdict(run)

    assert found.leader is None
    assert "no comparison on the same users was made" in found.sentence


def test_the_notes_of_a_fidelity_check_come_along(make_run: MakeRun):
    found = verdict(make_run(fidelity={"verdict": "warn", "note": "see /home/ada/checks/a.json"}))

    assert found.trust.word == "fidelity: warn"
    assert found.trust.detail == "see a.json"


def test_a_stand_in_is_called_one(make_run: MakeRun):
    def told(scripted: str) -> str:
        return verdict(make_run(folder=scripted, answered_by=AnsweredBy(scripted=scripted).plain())).trust.text

    assert told("all").startswith("Played by a scripted stand-in, no language model. These users have not")
    assert told("some").startswith("Some of these users are played by a scripted stand-in, no language model. These")
    assert "stand-in" not in told("none")


def test_users_checked_in_a_made_world_met_no_real_ones():
    believed = {"fidelity": {"verdict": "pass"}}
    real = trust(believed | {"dataset": {"name": "ml-100k", "is_synthetic": False}}).text
    made = trust(believed | {"dataset": {"name": "films", "is_synthetic": True}}).text

    assert "against real ones" in real
    assert "against real ones" not in made
    assert "no real user" in made
    assert data_facts(leave_one_out(films_world(users=20, items=40).dataset))["is_synthetic"]
