"""LensKit and RecTools as policies, wherever one of them is installed.

They want an older pandas and NumPy than everybody else here, so `test_adapters.py` makes an environment for them and
runs this file in it.
"""

import importlib.util
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simenv.checks import PolicyChecks
from simenv.errors import SimenvError
from simenv.pages import Grade
from simenv.policy import Policy
from simenv.rundir import RunDir
from simenv.scenarios import cli
from simenv.scenarios.names import build
from simenv.store import save_policy

INSTALLED = [name for name in ("lenskit", "rectools") if importlib.util.find_spec(name)]
if not INSTALLED:
    pytest.skip("neither LensKit nor RecTools lives in this environment", allow_module_level=True)
TRAINED: dict[str, dict[str, dict[str, Any]]] = {  # and what makes it small
    "lenskit": {
        "ImplicitMFScorer": {"embedding_size": 8},
        "BiasedMFScorer": {"embedding_size": 8},
        "ItemKNNScorer": {"feedback": "implicit"},
        "UserKNNScorer": {},
        "EASEScorer": {},
        "SLIMScorer": {},
        "FunkSVDScorer": {"epochs": 3},
        "PopScorer": {},
        "BiasScorer": {},
    },
    "rectools": {
        "SASRecModel": {"epochs": 1, "n_factors": 16, "session_max_len": 20},
        "BERT4RecModel": {"epochs": 1, "n_factors": 16, "session_max_len": 20},
        "EASEModel": {},
        "ImplicitALSWrapperModel": {"model": {"factors": 8}},
        "ImplicitBPRWrapperModel": {"model": {"factors": 8, "learning_rate": 0.05}},
        "ImplicitItemKNNWrapperModel": {},
        "PureSVDModel": {},
        "PopularModel": {},
    },
}
PREDICT_RATINGS = ("BiasedMFScorer", "UserKNNScorer", "FunkSVDScorer", "BiasScorer")  # and rank badly
CANNOT_BE_TOLD = ("FunkSVDScorer", "PopScorer", "BiasScorer", "PopularModel")
MODELS = {model: library for library in INSTALLED for model in TRAINED[library]}


def made(model: str) -> Any:
    return build("policy", MODELS[model], chosen(model), {})


def chosen(model: str) -> dict[str, Any]:
    return {"model": model, "options": TRAINED[MODELS[model]][model]}


class Checked(PolicyChecks):
    """The contract, for a model that is fitted once: some take seconds."""

    model = ""
    fitted: Policy | None = None

    def make(self) -> Policy:
        return made(self.model)

    def policy(self) -> Policy:
        kind = type(self)
        kind.fitted = kind.fitted or super().policy()
        return kind.fitted

    def test_fitted_twice_it_shows_the_same(self) -> None:
        other = super().policy()
        for context in self.contexts():
            assert np.array_equal(self.policy().recommend(context, 5), other.recommend(context, 5))

    def test_saved_and_loaded_it_shows_the_same(self, tmp_path: Path) -> None:
        """It says that it cannot be."""
        with pytest.raises(SimenvError, match="can only be pickled"):
            save_policy(self.policy(), tmp_path / "kept")


if "lenskit" in INSTALLED:

    class TestLensKitALS(Checked):
        model = "ImplicitMFScorer"

    class TestLensKitUserKNN(Checked):
        model = "UserKNNScorer"


if "rectools" in INSTALLED:

    class TestRecToolsSASRec(Checked):
        model = "SASRecModel"

    class TestRecToolsEASE(Checked):
        model = "EASEModel"

    class TestRecToolsPureSVD(Checked):
        model = "PureSVDModel"


@pytest.mark.parametrize("model", MODELS)
def test_what_was_liked_changes_the_page_or_a_warning_says_that_it_cannot(model: str, caplog: pytest.LogCaptureFixture):
    checks = Checked()
    policy = made(model)
    with caplog.at_level(logging.WARNING, "simenv"):
        policy.fit(checks.split().train)
    *_, context = checks.contexts()
    unseen = replace(context, grades=np.where(context.grades >= Grade.VIEWED, Grade.PASSED, context.grades))
    same = np.array_equal(policy.recommend(context, 5), policy.recommend(unseen, 5))

    assert same is (model in CANNOT_BE_TOLD)
    assert any(f"{model} cannot be told" in line for line in caplog.messages) is (model in CANNOT_BE_TOLD)


@pytest.mark.parametrize("model", [model for model in MODELS if model not in PREDICT_RATINGS])
def test_a_model_learns_something(model: str):
    """Its pages hold more of what was held out than pages drawn by lot would."""
    checks = Checked()
    policy = made(model)
    policy.fit(checks.split().train)
    context = next(checks.contexts())
    page = policy.recommend(context, 20)
    test = checks.split().test
    hits = sum(item in page[user] for user, item in zip(test.users, test.items, strict=True))
    assert hits > 20 / len(checks.world().dataset.catalog) * len(test)


@pytest.mark.parametrize("library", INSTALLED)
def test_an_option_that_there_is_not_is_told_at_once(library: str):
    model = next(iter(TRAINED[library]))
    with pytest.raises(SimenvError, match=rf"policy '{library}': {library}'s {model} does not take .*nonsense"):
        build("policy", library, {"model": model, "options": {"nonsense": 3}}, {})


@pytest.mark.parametrize("library", INSTALLED)
def test_it_cannot_be_saved_and_says_why(library: str, tmp_path: Path):
    policy = made(list(TRAINED[library])[-1])
    policy.fit(Checked().split().train)
    with pytest.raises(SimenvError, match="can only be pickled"):
        save_policy(policy, tmp_path / "kept")


def test_a_scenario_runs_from_the_command_line(
    tiny_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    models = [model for library in INSTALLED for model in list(TRAINED[library])[:2]]
    policies = [{"name": MODELS[model], "label": model} | chosen(model) for model in models]
    file = tiny_file(policies=["pop", *policies], max_pages=3)
    monkeypatch.setattr(sys, "argv", ["simenv", "run", str(file), "--out", str(tmp_path / "run")])
    code = None
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()

    assert not code, told.err
    assert all(model in told.out for model in models)
    RunDir.open(tmp_path / "run").check_whole()
