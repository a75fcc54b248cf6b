"""A pytest plugin that writes what became of each test, as JSON: `-p outcomes`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

OUTCOMES = "SDK_SUITE_OUTCOMES"
"""Variable that names the file."""

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst of setup, call and teardown; sub-tests count for their test."""
    known = _outcomes.get(report.nodeid)
    if known is None or report.outcome == "failed" or (known == "passed" and report.outcome == "skipped"):
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    """Write them."""
    Path(os.environ[OUTCOMES]).write_text(json.dumps(_outcomes))
