"""The instruments that decorators record with."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_ml
from otel_ml.instruments import instruments
from otel_ml.series import Series


class Bound:
    """What another library's histogram may return from a `bind` of its own."""


class Histogram(metrics.Histogram):
    """A histogram of another library."""

    def __init__(self) -> None:
        self.recorded: list[Any] = []

    def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        """Keep what was recorded."""
        self.recorded.append((amount, attributes))

    def bind(self, attributes: Any) -> Bound:
        """Return something of its own."""
        return Bound()


def test_a_histogram_of_another_kind_is_used_by_its_own_methods() -> None:
    """Also where it happens to have something that is called as our short way is."""
    histogram = Histogram()
    series = Series(lambda: histogram, {"a": 1}).bind()
    assert series.observer is not None
    series.observer.observe(0.5, None)
    assert histogram.recorded == [(0.5, {"a": 1})]


def test_a_tracer_of_another_kind_is_used_by_its_own_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it happens to have something that is called as our short way is."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    starter: Any = property(lambda _: "something else")
    monkeypatch.setattr(Tracer, "starter", starter, raising=False)
    try:
        instruments.bind(provider)
        assert instruments.starter is None
        with otel_ml.step("watched"):
            assert not exporter.get_finished_spans()
    finally:
        instruments.bind()
    assert [span.name for span in exporter.get_finished_spans()] == ["watched"]
