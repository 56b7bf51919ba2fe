"""A small run made by hand, as a run folder would hold it."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simenv.catalog import Catalog
from simenv.dataset import Dataset, Users
from simenv.eventlog import EventLog
from simenv.interactions import Interactions
from simenv.metrics import measure
from simenv.pages import Grade, Page, Reaction, Turn
from simenv.rundir import RunDir

HEADLINE = ("P_view", "N_like", "P_like", "N_exit", "S_sat")
USERS, ITEMS, SIZE, PAGES = 12, 40, 4, 5

MakeRun = Callable[..., RunDir]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a maker of runs: likes per session by policy, and whatever the manifest should say."""

    def make(
        likes: dict[str, float] | None = None,
        folder: str = "run",
        p: float = 0.001,
        width: float = 0.2,
        offline: bool = True,
        users: Sequence[int] = range(USERS),
        cause: str = "bored",
        **manifest: Any,
    ) -> RunDir:
        likes = {"mf": 4.0, "popular": 3.0, "random": 1.0} if likes is None else likes
        run = RunDir(tmp_path / folder)
        world = dataset()
        log = EventLog(run.folder)
        for place, (policy, mean) in enumerate(likes.items()):
            log.write(policy, 0, world, session(np.array(users), mean, place, cause))
        run.write_world(world)
        run.write_json("metrics.json", {policy: estimates(mean, width, offline) for policy, mean in likes.items()})
        run.write_json("comparisons.json", comparisons(likes, p, width))
        run.write_json("pages.json", measure(RunDir(run.folder)).pages)
        run.write_json("manifest.json", told(list(likes)) | manifest)
        return run

    return make


@pytest.fixture
def run(make_run: MakeRun) -> RunDir:
    """A complete run of three policies, the first of them clearly best."""
    return make_run()


def dataset() -> Dataset:
    """Return twelve users and forty items, item 0 the most popular."""
    users = np.repeat(np.arange(USERS), 10)
    items = np.concatenate([np.arange(10) * (1 + user % 3) for user in range(USERS)])
    log, _ = Interactions.sort(users, items)
    catalog = Catalog(
        np.arange(100, 100 + ITEMS),
        np.array([f"Film {item}" for item in range(ITEMS)], dtype=object),
        tuple((("drama", "comedy")[item % 2],) for item in range(ITEMS)),
        np.array([None] * ITEMS, dtype=object),
        np.full(ITEMS, np.nan),
    )
    return Dataset("hand-made", catalog, Users(np.arange(1, USERS + 1)), log)


def session(users: np.ndarray[Any, Any], mean: float, shift: int, cause: str) -> list[Turn]:
    """Return turns in which the first `mean` items are liked, and user u leaves after u % PAGES + 1 pages."""
    turns = []
    for number in range(PAGES):
        here = users[users % PAGES >= number]
        items = (np.arange(SIZE) + number * SIZE + shift * 3) % ITEMS
        page = Page(here, here, np.full(len(here), number), np.tile(items, (len(here), 1)))
        grades = np.full((len(here), SIZE), Grade.PASSED, dtype=np.int8)
        seen = number * SIZE + np.arange(SIZE)
        grades[:, seen < mean] = Grade.LIKED
        exits = (here % PAGES == number) & (here % PAGES < PAGES - 1)
        causes = np.where(exits, np.where(here % 2 == 0, cause, "tired"), "").astype(object)
        reaction = Reaction(grades, np.full(grades.shape, np.nan), 3.0 + mean / 2 + here % 3, exits, causes)
        turns.append(Turn(page, reaction, np.zeros(grades.shape, bool), ~exits & (number == PAGES - 1)))
    return turns


def estimates(mean: float, width: float, offline: bool) -> dict[str, dict[str, float | None]]:
    """Return metrics of which N_like has this mean."""
    row = {metric: around(mean if metric == "N_like" else mean / 10, width) for metric in HEADLINE}
    row |= {metric: around(mean / 20, width / 20) for metric in ("coverage", "gini", "novelty", "diversity")}
    if offline:
        row |= {metric: around(mean / 30, width / 20) for metric in ("recall@10", "recall@20", "ndcg@10")}
    return row


def around(mean: float, width: float) -> dict[str, float | None]:
    """Return an estimate with this interval's width."""
    return {"mean": mean, "low": mean - width / 2, "high": mean + width / 2, "n": USERS}


def comparisons(likes: dict[str, float], p: float, width: float) -> list[dict[str, Any]]:
    """Return every pair of policies over the headline metrics."""
    return [
        {
            "metric": metric,
            "policy": one,
            "against": other,
            "difference": likes[one] - likes[other],
            "low": likes[one] - likes[other] - width / 2,
            "high": likes[one] - likes[other] + width / 2,
            "p": p,
            "p_holm": p,
            "n": USERS,
        }
        for one, other in combinations(likes, 2)
        for metric in HEADLINE
    ]


def told(policies: list[str]) -> dict[str, Any]:
    """Return what a manifest says of a complete run."""
    return {
        "simenv": "0.1.0",
        "scenario": "small",
        "question": "Which policy do these users take best?",
        "status": "complete",
        "dataset": {
            "name": "hand-made",
            "fingerprint": "a1b2c3",
            "users": USERS,
            "items": ITEMS,
            "train_rows": 120,
            "test_rows": 12,
            "split": "last one out",
        },
        "population": {
            "name": "scripted",
            "about": "users who like what comes first",
            "options": {"patience": 3},
        },
        "policies": [{"label": policy, "name": policy, "options": {}} for policy in policies],
        "seeds": [0],
        "users": USERS,
        "page_size": SIZE,
        "max_pages": PAGES,
        "fidelity": {"verdict": "not measured", "note": ""},
        "seconds": {"fit": 0.5, "run": 1.5},
        "versions": {"python": "3.11", "numpy": "2.0"},
        "empty_places": {},
        "command": "simenv run small",
    }
