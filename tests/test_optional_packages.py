"""What wants a package that is not installed is skipped with a reason, and only where that may be."""

import pytest
from optional_packages import missing_package, reason_to_skip

from simenv.errors import MissingExtra


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    error.__cause__ = cause
    return error


def test_a_missing_optional_package_is_told_from_any_other_error():
    assert "torch" in str(missing_package(ModuleNotFoundError("no torch", name="torch.nn")))
    assert "llm" in str(missing_package(raised(RuntimeError("x"), MissingExtra("an endpoint", "llm"))))
    assert missing_package(ModuleNotFoundError("no nump", name="nump")) is None
    assert missing_package(AssertionError()) is None


def test_nothing_is_skipped_where_all_extras_are_wanted(monkeypatch: pytest.MonkeyPatch):
    error = ModuleNotFoundError("no torch", name="torch")
    monkeypatch.delenv("SIMENV_ALL_EXTRAS", raising=False)
    assert reason_to_skip(error)
    monkeypatch.setenv("SIMENV_ALL_EXTRAS", "1")
    assert reason_to_skip(error) is None
