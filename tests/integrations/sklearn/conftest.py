"""Instrumentation that is undone after the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("sklearn")

import otel_ml
from otel_ml.testing import CapturedTelemetry


@pytest.fixture
def watched(captured_telemetry: CapturedTelemetry) -> Iterator[CapturedTelemetry]:
    """All estimators are watched for one test."""
    instrumentor = otel_ml.SklearnInstrumentor()
    instrumentor.instrument(progress=False)
    yield captured_telemetry
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
