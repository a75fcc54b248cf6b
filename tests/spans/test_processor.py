"""Spans from the provider to an exporter, through the queue."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from otel_ml import Traces, health
from otel_ml.spans.queue import QueueSpanProcessor


def provider_with(exporter: SpanExporter, **options: int) -> tuple[TracerProvider, QueueSpanProcessor]:
    processor = QueueSpanProcessor(exporter, Traces(interval=0.01, **options))  # type: ignore[arg-type]
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider, processor


class Refusing(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE


class Hanging(SpanExporter):
    def __init__(self) -> None:
        self.release = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.release.wait(30)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.release.set()


def test_every_ended_span_arrives_masked() -> None:
    """Attributes, events, links, status and name, whoever wrote them."""
    exporter = InMemorySpanExporter()
    provider, processor = provider_with(exporter)
    tracer = provider.get_tracer("third party")
    with tracer.start_as_current_span("mail ada@example.org") as span:
        span.set_attributes({"password": "hunter2", "rows": 5})
        span.add_event("sent", {"to": "ada@example.org", "n": 1})
        span.add_link(span.get_span_context(), {"api_key": "k-123"})
        span.set_status(StatusCode.ERROR, "no ada@example.org")
    assert processor.force_flush(10_000)
    (found,) = exporter.get_finished_spans()
    text = found.to_json()
    for secret in ("ada@example.org", "hunter2", "k-123"):
        assert secret not in text
    assert dict(found.attributes or {})["rows"] == 5
    assert [event.name for event in found.events] == ["sent"]
    assert found.context == span.get_span_context() and found.start_time and found.end_time
    processor.close(5)


def test_a_span_with_nothing_to_mask_is_not_copied() -> None:
    """The common case costs no copy."""
    from otel_ml.spans.redacting import masked

    exporter = InMemorySpanExporter()
    provider, processor = provider_with(exporter)
    with provider.get_tracer("t").start_as_current_span("plain") as span:
        span.set_attribute("rows", 5)
        span.add_event("done", {"n": 1})
    processor.force_flush(10_000)
    (found,) = exporter.get_finished_spans()
    assert masked(found) is found
    processor.close(5)


def test_a_refused_export_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Spans that the receiver did not take are lost, not silently."""
    provider, processor = provider_with(Refusing())
    for _ in range(2):
        provider.get_tracer("t").start_span("s").end()
        assert processor.force_flush(10_000)
    assert health.dropped() == {("traces", "export_failed"): 2}
    assert caplog.text.count("traces could not be delivered") == 1
    processor.close(5)


def test_a_hanging_exporter_costs_the_caller_nothing_but_counted_spans() -> None:
    """The queue is bounded, the calls go on, and the end is bounded too."""
    exporter = Hanging()
    provider, processor = provider_with(exporter, queue_size=10, batch_size=1)
    tracer = provider.get_tracer("t")
    for _ in range(200):
        tracer.start_span("s").end()
    assert health.dropped()["traces", "queue_full"] >= 200 - 10 - 2
    assert not processor.close(0.1)


def test_unsampled_spans_are_not_queued() -> None:
    """Recording is one thing, exporting another."""
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

    class RecordOnly(Sampler):
        def should_sample(self, *args: object, **kwargs: object) -> SamplingResult:
            return SamplingResult(Decision.RECORD_ONLY)

        def get_description(self) -> str:
            return "record only"

    exporter = InMemorySpanExporter()
    processor = QueueSpanProcessor(exporter, Traces(interval=0.01))
    provider = TracerProvider(sampler=RecordOnly(), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("t").start_span("s").end()
    assert processor.force_flush(10_000)
    assert exporter.get_finished_spans() == ()
    processor.close(5)
