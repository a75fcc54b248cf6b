"""Settings of every test: none sees the telemetry environment of whoever runs the suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from otel_ml import health, redaction
from otel_ml.redaction import Redactor
from support import is_ambient

# A deadline would assert on speed, which a loaded machine decides.
settings.register_profile("otel_ml", deadline=None)
settings.load_profile("otel_ml")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run each test, and the processes that it starts, in a folder of its own: local files go there, not beside us."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_ambient_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables that configure OpenTelemetry or put this process into a run."""
    for name in list(os.environ):
        if is_ambient(name):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def fresh_health() -> Iterator[None]:
    """Give each test its own count of drops and its own first warnings."""
    health.reset()
    yield
    health.reset()


@pytest.fixture
def own_redactor() -> Iterator[None]:
    """Let a test not see what another one's redactor remembers."""
    before = redaction.current()
    redaction.use(Redactor())
    yield
    redaction.use(before)
