"""The reviewers read a run's own log as they read sessions that are still in memory."""

import numpy as np

from simenv.fidelity.bench import METRICS
from simenv.fidelity.runlog import _played, review_log
from simenv.metrics import session_table
from simenv.rundir import RunDir


def test_the_log_gives_the_sessions_metrics_again(finished: RunDir):
    table = session_table(finished).to_pylist()
    for label in ("random", "pop", "item-knn"):
        played = _played(finished, label, finished.manifest["page_size"])
        mine = played.metrics.reshape(2, -1, len(METRICS)).mean(axis=0)
        theirs = [row for row in table if row["policy"] == label]
        theirs.sort(key=lambda row: row["user_id"])

        for column, metric in enumerate(METRICS):
            assert np.allclose(mine[:, column], [row[metric] for row in theirs], equal_nan=True), metric


def test_a_log_of_the_worlds_own_users_is_clean(finished: RunDir):
    found = review_log(finished)

    assert found.word == "pass"
    assert [row[0] for row in found.tables[1].rows] == ["random", "pop", "item-knn"]
