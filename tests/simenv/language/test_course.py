"""A language model learns what is planted, and a crash between two epochs changes nothing of what it becomes."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")

from simenv.errors import SimenvError, StoreError  # noqa: E402
from simenv.language.course import Course, Pace  # noqa: E402
from simenv.language.llama import Llama, Shape  # noqa: E402
from simenv.language.rows import Reading, TokenRows, unlikelihood  # noqa: E402


class Killed(Exception):
    """A crash."""


def echo_rows(count: int, seed: int = 0) -> TokenRows:
    """Three tokens, a sign (1), and the first of them again."""
    rng = np.random.default_rng(seed)
    told = rng.integers(2, 12, size=(count, 3)).tolist()
    return TokenRows.of([([*row, 1], [row[0]]) for row in told])


def small() -> Llama:
    torch.manual_seed(1)
    return Llama(Shape(12, dimensions=32, layers=2, heads=2, context=16), dropout=0.1)


def course(model: Llama, folder: Path | None = None, epochs: int = 4, **more: object) -> Course:
    return Course(model, Reading(model, echo_rows(256), batch_tokens=256), Pace(epochs, 3e-3), folder=folder, **more)


def test_what_is_planted_is_learnt():
    model = small()
    before = unlikelihood(model, echo_rows(64, 9))
    Course(model, Reading(model, echo_rows(2048), batch_tokens=512), Pace(12, 3e-3)).run()
    assert unlikelihood(model, echo_rows(64, 9)) < 0.2 < before


def test_rows_of_answers_want_the_answers_alone():
    rows = TokenRows.of([([5, 6], [7]), ([], [8, 9])])
    assert rows.starts.tolist() == [0, 3, 5]
    assert rows.wanted.tolist() == [False, False, True, False, True]  # nothing tells a first token


def test_batches_hold_every_row_once_and_no_more_tokens_than_told():
    rows = echo_rows(100)
    places = list(rows.batches(60, np.random.default_rng(0)))
    assert sorted(np.concatenate(places).tolist()) == list(range(100))
    assert max(len(some) * 5 for some in places) <= 60


def test_a_crash_between_epochs_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("simenv.language.course.SAVE_EVERY", 0.0)
    whole, broken = small(), small()
    course(whole).run()

    def crash(epoch: object) -> None:
        if epoch.done == 3:
            raise Killed

    with pytest.raises(Killed):
        course(broken, tmp_path / "kept", watch=crash).run()
    again = small()
    past = course(again, tmp_path / "kept").run()
    assert len(past.losses) == 4
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_best_weights_are_kept_and_no_better_ones_are_waited_for():
    model = small()
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    seen = []

    def judge() -> float:
        seen.append([weight.detach().clone() for weight in model.parameters()])
        return next(scores)

    made = Course(model, Reading(model, echo_rows(64)), Pace(5, 1e-3, patience=2), judge=judge).run()
    assert (made.kept, made.scores) == (2, [0.1, 0.5, 0.4, 0.3])
    assert all(torch.equal(one, other) for one, other in zip(seen[1], model.parameters(), strict=True))


def test_the_state_of_another_course_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("simenv.language.course.SAVE_EVERY", 0.0)
    course(small(), tmp_path / "kept", epochs=1).run()
    with pytest.raises(StoreError, match="another course"):
        course(small(), tmp_path / "kept", epochs=2).run()


def test_a_loss_that_is_no_number_is_told():
    model = small()
    with torch.no_grad():
        model.table.weight.fill_(float("nan"))
    with pytest.raises(SimenvError, match="smaller learning rate"):
        course(model).run()
