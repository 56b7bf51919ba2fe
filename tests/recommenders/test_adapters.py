"""Other libraries' models keep to the contract, hear of the session, and show what their library would."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from simenv.catalog import Catalog
from simenv.checks import PolicyChecks
from simenv.context import Context
from simenv.dataset import Dataset, Users
from simenv.errors import MissingExtra, SimenvError
from simenv.films import films_world
from simenv.interactions import Interactions
from simenv.loop import luck_of
from simenv.pages import Grade
from simenv.recommenders.foreign import filled
from simenv.recommenders.from_implicit import MODELS, FromImplicit
from simenv.recommenders.from_lenskit import FromLensKit
from simenv.recommenders.from_rectools import FromRecTools
from simenv.recommenders.recommender import WHISPER, seen_matrix
from simenv.scenarios.names import build
from simenv.scenarios.runner import run
from simenv.scenarios.scenario import Scenario
from simenv.store import load_policy, save_policy

ROOT = Path(__file__).parents[2]
ALS, BPR, LMF = "AlternatingLeastSquares", "BayesianPersonalizedRanking", "LogisticMatrixFactorization"
SMALL: dict[str, dict[str, Any]] = {
    ALS: {"factors": 8},
    BPR: {"factors": 8, "learning_rate": 0.05},
    LMF: {"factors": 8},
    "BM25Recommender": {"K": 50},
}


def implicit_policy(model: str) -> FromImplicit:
    return FromImplicit(model=model, options=SMALL.get(model, {}))


class TestImplicitALS(PolicyChecks):
    def make(self) -> FromImplicit:
        return implicit_policy(ALS)


class TestImplicitBPR(PolicyChecks):
    def make(self) -> FromImplicit:
        return implicit_policy(BPR)


class TestImplicitLogisticMF(PolicyChecks):
    def make(self) -> FromImplicit:
        return implicit_policy(LMF)


class TestImplicitCosine(PolicyChecks):
    def make(self) -> FromImplicit:
        return implicit_policy("CosineRecommender")


class TestImplicitBM25(PolicyChecks):
    def make(self) -> FromImplicit:
        return implicit_policy("BM25Recommender")


@pytest.fixture(scope="module")
def films() -> Dataset:
    return films_world(users=60, items=120).dataset


def asked(
    data: Dataset, users: Sequence[int], shown: Sequence[Sequence[int]] = (), grade: Grade = Grade.LIKED
) -> Context:
    who = np.array(users, dtype=np.int32)
    before = np.array(shown, dtype=np.int32).reshape(len(who), -1)
    marks = np.full(before.shape, grade, dtype=np.int8)
    return Context(data, who, np.zeros(len(who), np.int32), before, marks, luck_of(0, who))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.filterwarnings("ignore:Method expects CSR")
def test_before_a_session_the_page_is_as_good_as_implicits_own(films: Dataset, model: str):
    """Held against its own scores, for among equals the choice is free."""
    policy = implicit_policy(model)
    policy.fit(films)
    page = policy.recommend(asked(films, range(60)), 10)

    theirs = policy._made()
    seen = sparse.csr_matrix(seen_matrix(films), dtype=np.float32 if model in (ALS, BPR, LMF) else np.float64)
    theirs.fit(seen, show_progress=False)
    items, told = theirs.recommend(
        np.arange(60), seen, N=120, filter_already_liked_items=False, recalculate_user=model == ALS
    )
    scores = np.zeros((60, 120))
    for row in range(60):
        named = (items[row] >= 0) & (told[row] > -1e30)
        scores[row, items[row, named]] = told[row, named]
    scores[seen.nonzero()] = -np.inf
    wanted = -np.sort(-scores, axis=1)[:, :10]
    assert np.allclose(np.take_along_axis(scores, page, axis=1), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("grade", [Grade.LIKED, Grade.VIEWED])
def test_what_was_liked_in_this_session_changes_the_next_page(films: Dataset, model: str, grade: Grade):
    policy = implicit_policy(model)
    policy.fit(films)
    first = policy.recommend(asked(films, range(60)), 3)
    liked = policy.recommend(asked(films, range(60), first, grade), 5)
    passed = policy.recommend(asked(films, range(60), first, Grade.PASSED), 5)

    assert (liked != passed).any(axis=1).mean() > 0.3


@pytest.mark.parametrize("model", [ALS, BPR, LMF, "CosineRecommender"])
def test_a_newcomers_first_like_brings_its_neighbours(model: str):
    """Twelve users met the first four items or the last four, never both; the newcomer likes the sixth."""
    histories = [[0, 1, 2, 3]] * 7 + [[4, 5, 6, 7]] * 5 + [[]]
    owners = np.repeat(np.arange(len(histories)), [len(mine) for mine in histories])
    log, _ = Interactions.sort(owners, np.array([item for mine in histories for item in mine]))
    nothing = np.full(8, None, dtype=object)
    catalog = Catalog(np.arange(8), nothing, ((),) * 8, nothing, np.full(8, np.nan))
    data = Dataset("two tastes", catalog, Users(np.arange(len(histories))), log)
    policy = FromImplicit(model=model, options={"iterations": 200, "factors": 4} if model in (BPR, LMF) else {})
    policy.fit(data)

    assert set(policy.recommend(asked(data, [12]), 4)[0].tolist()) == {0, 1, 2, 3}, "most have met these"
    assert set(policy.recommend(asked(data, [12], [[5]]), 3)[0].tolist()) == {4, 6, 7}


@pytest.mark.parametrize("model", MODELS)
def test_an_implicit_model_that_was_saved_shows_the_same(films: Dataset, model: str, tmp_path: Path):
    policy = implicit_policy(model)
    policy.fit(films)
    save_policy(policy, tmp_path / "kept")
    first = policy.recommend(asked(films, range(60)), 3)

    again = load_policy(tmp_path / "kept")
    assert np.array_equal(again.recommend(asked(films, range(60)), 3), first)
    context = asked(films, range(60), first)
    assert np.array_equal(again.recommend(context, 3), policy.recommend(context, 3))


def test_an_unknown_model_is_told_with_those_there_are():
    with pytest.raises(SimenvError, match=r"no model 'CosinRecommender' here; there are .*did you mean CosineRec"):
        FromImplicit(model="CosinRecommender")


def test_an_unknown_option_is_told_at_once():
    with pytest.raises(SimenvError, match=r"policy 'implicit': implicit's Alt.*\(factor: 3\).*'factor'"):
        build("policy", "implicit", {"options": {"factor": 3}}, {})


def test_a_class_of_ones_own_needs_vectors_or_neighbours():
    with pytest.raises(SimenvError, match="it is a class without them, and no model of implicit"):
        FromImplicit(model="collections:UserDict")


@pytest.mark.parametrize("name", ["implicit", "lenskit", "rectools"])
def test_a_library_that_is_missing_is_told_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SimenvError, match=rf"pip install -e '\.\[{name}\]'"):
        build("policy", name, {}, {})
    kind = {"implicit": FromImplicit, "lenskit": FromLensKit, "rectools": FromRecTools}[name]
    with pytest.raises(MissingExtra):
        kind()


def test_items_that_a_model_says_nothing_of_come_last_by_fame():
    fame = np.array([0, 0.5, 1], dtype=np.float32) * np.float32(WHISPER)
    scores = filled(np.array([[np.nan, -7.0, np.nan], [np.nan] * 3]), fame)
    assert np.argsort(-scores, axis=1).tolist() == [[1, 2, 0], [2, 1, 0]]


def test_a_scenario_with_implicit_in_it_runs(tiny: Callable[..., Scenario], tmp_path: Path):
    models = [
        {"name": "implicit", "model": model, "options": SMALL.get(model, {}), "label": model} for model in (ALS, BPR)
    ]
    run(tiny(policies=["pop", *models]), tmp_path / "run").check_whole()


@pytest.mark.slow
def test_lenskit_and_rectools_work_in_an_environment_of_their_own():
    python = environment("apart", [f"{ROOT}[lenskit,rectools]"], ["rectools[torch]", "torch==2.13.0", "pytest"])
    told = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "-rs", ROOT / "tests" / "recommenders" / "test_apart.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-2000:]
    assert " passed" in told.stdout


def environment(name: str, ours: Sequence[str], wanted: Sequence[str]) -> Path:
    """Return the Python of an environment in which all of this is installed; it is kept while that stays the same."""
    folder = ROOT / "build" / name
    python, done = folder / "bin" / "python", folder / "done"
    told = "\n".join([sys.version, *ours, *wanted, (ROOT / "pyproject.toml").read_text(encoding="utf-8")])
    if not done.is_file() or done.read_text(encoding="utf-8") != told:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "-q", "--no-compile", "--retries", "1", "-e", *ours, *wanted]
        found = subprocess.run(install, capture_output=True, text=True, check=False)
        if any(word in found.stderr for word in ("connection broken by", "Max retries exceeded")):
            pytest.skip("PyPI cannot be reached, from which the libraries would come")
        assert found.returncode == 0, found.stderr[-4000:]
        done.write_text(told, encoding="utf-8")
    return python
