"""Skips, with a reason, what wants an optional package that is not installed.

The light environment (`pip install -e '.[dev]'`) so runs all the tests of the core. Nothing is skipped this way where
SIMENV_ALL_EXTRAS is set, as `make test` sets it: there a missing package is a failure.
"""

import os
from collections.abc import Generator
from typing import Any

import pytest

from simenv.errors import MissingExtra

OPTIONAL = {"aiohttp", "implicit", "llguidance", "openai", "peft", "sentence_transformers", "stable_baselines3"}
OPTIONAL |= {"tokenizers", "torch", "transformers", "trl", "datasets", "pandas"}


def missing_package(error: BaseException | None) -> str | None:
    """Return why an optional package is at fault for this error, or None if none is."""
    while error is not None:
        if isinstance(error, MissingExtra):
            return str(error)
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in OPTIONAL:
            return f"{error.name} is not installed"
        error = error.__cause__ or error.__context__
    return None


def reason_to_skip(error: BaseException | None) -> str | None:
    """Return why a failure is a skip here, or None."""
    return None if os.environ.get("SIMENV_ALL_EXTRAS") else missing_package(error)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Skip a file whose imports want an optional package."""
    report = yield
    error = report.call.excinfo.value if report.failed and getattr(report, "call", None) else None
    reason = reason_to_skip(error)
    if reason:
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), None, f"Skipped: {reason}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Skip a test that wants an optional package as it runs."""
    report = yield
    reason = reason_to_skip(call.excinfo.value) if call.excinfo and report.failed else None
    if reason:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1], f"Skipped: {reason}")
    return report
