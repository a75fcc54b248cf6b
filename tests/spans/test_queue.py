"""Spans from our own tracer to an endpoint: one append for the caller, bytes for the endpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as StockProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import StatusCode

from otel_ml import Traces, health
from otel_ml.export.encoding_queue import EncodingQueue
from otel_ml.export.otlp import Endpoint, span_exporter
from otel_ml.spans.queue import QueueSpanProcessor
from otel_ml.tracing.provider import TracerProvider
from otel_ml.tracing.switch import SwitchProcessor
from receivers import Fault, OtlpReceiver, unused_port

PROTOCOLS = ["http/protobuf", "grpc"]


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """An OTLP receiver over HTTP and gRPC."""
    with OtlpReceiver() as running:
        yield running


def pipeline(exporter: SpanExporter, **options: float) -> tuple[TracerProvider, QueueSpanProcessor]:
    """Connect our provider to an exporter, as `configure` does."""
    processor = QueueSpanProcessor(exporter, Traces(interval=0.01, **options))  # type: ignore[arg-type]
    switch = SwitchProcessor()
    switch.open((), (processor.emit,), (processor,))
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(switch)
    return provider, processor


def over(receiver: OtlpReceiver, protocol: str) -> SpanExporter:
    return span_exporter(Endpoint(receiver.url(protocol), protocol))  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_arrive_masked_over_each_protocol(receiver: OtlpReceiver, protocol: str) -> None:
    """Attributes, events, links, status and name, from our own tracer through real connections."""
    provider, processor = pipeline(over(receiver, protocol))
    with provider.get_tracer("tracer", "1").start_as_current_span("mail ada@example.org") as span:
        span.set_attributes({"password": "hunter2", "rows": 5})
        span.add_event("sent", {"to": "ada@example.org", "n": 1})
        span.add_link(span.get_span_context(), {"api_key": "k-123"})
        span.set_status(StatusCode.ERROR, "no ada@example.org")
    assert processor.force_flush(20_000)
    (found,) = receiver.records("traces")
    for secret in ("ada@example.org", "hunter2", "k-123"):
        assert secret not in str(found)
    assert found.span_id == span.get_span_context().span_id.to_bytes(8, "big")
    assert {item.key: item.value.int_value for item in found.attributes}["rows"] == 5
    assert processor.close(5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_are_what_is_sent(receiver: OtlpReceiver, protocol: str) -> None:
    """The exporters that we make, and the stock one over HTTP that another makes, are sent bytes."""
    for exporter in (over(receiver, protocol), OTLPSpanExporter(f"{receiver.http_url}/v1/traces")):
        provider, processor = pipeline(exporter)
        assert isinstance(processor._queue, EncodingQueue)
        provider.get_tracer("t").start_span("s").end()
        assert processor.close(20)
    assert [span.name for span in receiver.records("traces")] == ["s", "s"]


def test_a_span_of_the_stock_tracer_arrives_too(receiver: OtlpReceiver) -> None:
    """An application's own provider hands over readable spans, through `on_end` or through a switch."""
    processor = QueueSpanProcessor(over(receiver, "http/protobuf"), Traces(interval=0.01))
    switch = SwitchProcessor()
    switch.open((), (processor.emit,), (processor,))
    for listener in (processor, switch):
        provider = StockProvider(shutdown_on_exit=False)
        provider.add_span_processor(listener)
        provider.get_tracer("t").start_span("s").end()
    assert processor.close(20)
    assert [span.name for span in receiver.records("traces")] == ["s", "s"]


def test_exporters_of_others_get_masked_spans() -> None:
    """One that is not known to take bytes is given objects, also when it is made from one that does."""

    class Sub(OTLPSpanExporter):
        spans: list[ReadableSpan] = []  # noqa: RUF012

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            self.spans.extend(spans)
            return SpanExportResult.SUCCESS

    for exporter in (InMemorySpanExporter(), Sub("http://127.0.0.1:9")):
        provider, processor = pipeline(exporter)
        provider.get_tracer("t").start_span("to ada@example.org").end()
        assert processor.force_flush(20_000)
        (found,) = exporter.spans if isinstance(exporter, Sub) else exporter.get_finished_spans()
        assert found.name == "to [redacted]"
        assert processor.close(5)


class RecordOnly(Sampler):
    def should_sample(self, *args: object, **kwargs: object) -> SamplingResult:
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "record only"


def test_recorded_spans_that_are_not_sampled_are_not_queued() -> None:
    """Our own tracer hands over all that it records."""
    exporter = InMemorySpanExporter()
    provider, processor = pipeline(exporter)
    provider.sampler = RecordOnly()
    span = provider.get_tracer("other").start_span("s")
    assert span.is_recording()
    span.end()
    assert processor.close(5)
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_that_refuses_costs_counted_spans(receiver: OtlpReceiver, protocol: str) -> None:
    """What was not taken is counted by its number, and said once."""
    receiver.misbehave(Fault(status=400))
    provider, processor = pipeline(over(receiver, protocol), batch_size=2)
    for _ in range(5):
        provider.get_tracer("t").start_span("s").end()
    assert processor.close(20)
    assert health.dropped() == {("traces", "export_failed"): 5}


def test_a_dead_endpoint_costs_counted_spans_and_the_end_is_bounded() -> None:
    """Nobody listens: the queue fills, what does not fit is counted, and so is what is left at the end."""
    exporter = span_exporter(Endpoint(f"http://127.0.0.1:{unused_port()}"))
    provider, processor = pipeline(exporter, queue_size=100, batch_size=10)
    tracer = provider.get_tracer("t")
    for _ in range(1000):
        tracer.start_span("s").end()
    started = time.monotonic()
    assert not processor.close(0.3)
    assert time.monotonic() - started < 10
    deadline = time.monotonic() + 20
    while sum(health.dropped().values()) < 1000 and time.monotonic() < deadline:
        time.sleep(0.01)  # the request under way fails a moment later
    assert sum(number for (signal, _), number in health.dropped().items() if signal == "traces") == 1000
