"""A pytest plugin: every estimator of the process is watched, and its spans are written to files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import otel_ml


def pytest_configure(config: Any) -> None:
    """Set up before the first test module is imported."""
    directory = Path(os.environ["SKLEARN_SUITE_STATE"])
    otel_ml.configure(service_name="sklearn-tests", directory=directory, logs=False, audit=False)
    otel_ml.SklearnInstrumentor().instrument(progress=False)
