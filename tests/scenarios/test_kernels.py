"""The log is the same to the last bit, whichever kernel BLAS takes, with one thread or two, and in any batch."""

import os
import subprocess
import sys

import pytest

RUN = """
import hashlib
import sys
import numpy as np
from simenv.agents.choice import ChoicePopulation
from simenv.agents.voters import VotersPopulation
from simenv.films import films_world
from simenv.loop import PageLoop
from simenv.play import play
from simenv.recommenders.bpr import BPR
from simenv.recommenders.content import BM25, TfIdf
from simenv.recommenders.ease import Ease
from simenv.recommenders.ials import IALS
from simenv.recommenders.item_knn import ItemKNN
from simenv.recommenders.lightgcn import LightGCN
from simenv.recommenders.pop import Pop

dataset = films_world(users=120, items=150).dataset
policies = [Pop(), ItemKNN(), Ease(), BPR(epochs=2), IALS(epochs=2), LightGCN(epochs=1), BM25(), TfIdf()]
for policy in policies:
    policy.fit(dataset)
for population in (ChoicePopulation(), VotersPopulation()):
    population.fit(dataset)
    loop = PageLoop(dataset, population, page_size=5, max_pages=3)
    for policy in policies:
        rows = []
        for _, turns in play(loop, policy, np.arange(120), 0, batch_size=int(sys.argv[1])):
            for turn in turns:
                page, reaction = turn.page, turn.reaction
                for row in range(len(page.users)):
                    seen = page.items[row].tolist(), reaction.grades[row].tolist(), float(reaction.satisfaction[row])
                    rows.append((int(page.users[row]), int(page.number[row]), *seen))
        digest = hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()[:12]
        print(type(population).__name__, type(policy).__name__, len(rows), digest)
"""
TWO = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "2")


def log_of(batch_size: int, **settings: str) -> str:
    plain = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    command = [sys.executable, "-c", RUN, str(batch_size)]
    done = subprocess.run(command, env=plain | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def usual_log() -> str:
    return log_of(1024)


@pytest.mark.parametrize(
    ("batch_size", "settings"),
    [
        (1024, {"OPENBLAS_CORETYPE": "Haswell", "PYTHONHASHSEED": "5"}),
        (7, {"OPENBLAS_CORETYPE": "Sandybridge", **TWO}),
    ],
    ids=["Haswell", "Sandybridge, two threads, batches of 7"],
)
def test_the_log_depends_on_no_kernel(usual_log: str, batch_size: int, settings: dict[str, str]):
    """Every policy and population that learns without torch."""
    assert log_of(batch_size, **settings).splitlines() == usual_log.splitlines()
