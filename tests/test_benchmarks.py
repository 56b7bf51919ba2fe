"""What the benchmarks ask is readable: a file that is not would stop an unattended run at its start."""

from pathlib import Path

import pytest

from simenv.scenarios.evaluation import read_evaluation
from simenv.scenarios.training import read_training

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("file", sorted((BENCHMARKS / "questions").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_question_is_an_evaluation(file: Path) -> None:
    asked = read_evaluation(str(file))
    assert asked.name == file.stem
    assert asked.policies


@pytest.mark.parametrize("file", sorted((BENCHMARKS / "trainings").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_training_has_its_stages(file: Path) -> None:
    assert read_training(str(file)).stages
