"""Ready requests through the stock exporters: their connection, compression, retries, and what they are answered."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from export.records import RESOURCE, log, spans
from opentelemetry.exporter.otlp.common.http import _OTLPHTTPClient
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_ml import health, sdk_compat
from otel_ml.export import sending
from otel_ml.export.otlp import Endpoint, log_exporter, span_exporter
from otel_ml.export.otlp_protobuf import LogEncoder, SpanEncoder
from otel_ml.export.sending import Sending, sender_of
from otel_ml.logs.otlp import OtlpSink
from receivers import Fault, OtlpReceiver
from support import run_python

PROTOCOLS = ["http/protobuf", "grpc"]
SIGNALS = ["traces", "logs"]


@pytest.fixture
def receiver():
    """An OTLP receiver over HTTP and gRPC."""
    with OtlpReceiver() as running:
        yield running


def exporter_to(receiver, protocol, signal="traces"):
    make = {"traces": span_exporter, "logs": log_exporter}[signal]
    return make(Endpoint(receiver.url(protocol), protocol))


def block_of(signal="traces", number=1):
    if signal == "traces":
        return SpanEncoder().encode(spans(*["s"] * number))
    return LogEncoder().encode([log("s")] * number)


def send(exporter, signal="traces", number=1):
    block = block_of(signal, number)
    return sender_of(exporter)(block.content, block.number)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_ready_request_arrives(receiver, protocol, signal):
    """Bytes reach the endpoint as the request that they are, and so do objects through the same exporter."""
    exporter = exporter_to(receiver, protocol, signal)
    assert send(exporter, signal, 3)
    assert exporter.export(spans("s") if signal == "traces" else [log("s")]).name == "SUCCESS"
    exporter.shutdown()
    assert [len(request.records) for request in receiver.requests] == [3, 1]
    assert not health.dropped()


def test_one_connection_is_used_for_all_requests(receiver):
    """A connection is made once."""
    exporter = exporter_to(receiver, "http/protobuf")
    accepted = []
    process = receiver._http.process_request

    def counting(request, address):
        accepted.append(address)
        process(request, address)

    receiver._http.process_request = counting
    assert all(send(exporter) for _ in range(5))
    exporter.shutdown()
    assert (len(receiver.requests), len(accepted)) == (5, 1)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_requests_are_compressed(receiver, compression, monkeypatch):
    """As `OTEL_EXPORTER_OTLP_COMPRESSION` says."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    assert send(exporter_to(receiver, "http/protobuf"))
    assert receiver.requests[0].headers["content-encoding"] == compression
    assert len(receiver.records("traces")) == 1


def test_requests_over_grpc_are_compressed(receiver, monkeypatch):
    """A request that gRPC compressed arrives."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    assert send(exporter_to(receiver, "grpc"), number=20)
    assert len(receiver.records("traces")) == 20


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_says_when_to_try_again(receiver, protocol):
    """`Retry-After` over HTTP and RetryInfo over gRPC are waited for, instead of the second that comes otherwise."""
    receiver.misbehave(Fault(status=503, retry_after=0.3), times=1)
    exporter = exporter_to(receiver, protocol)
    started = time.monotonic()
    assert send(exporter)
    assert time.monotonic() - started >= 0.3
    assert [request.accepted for request in receiver.requests] == [False, True]


def test_tries_are_spread():
    """The time between two tries grows, and no two exporters try at the same moments."""
    client = _OTLPHTTPClient(transport=None, endpoint="", kind="spans")
    for retry in range(4):
        waits = {client._compute_backoff(retry) for _ in range(50)}
        assert len(waits) > 40
        assert all(0.8 * 2**retry <= wait <= 1.2 * 2**retry for wait in waits)


@pytest.mark.parametrize("fault", [Fault(status=429, retry_after=0.05), Fault(close=True)], ids=str)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_failure_that_passes_is_tried_again(receiver, protocol, fault):
    """The same bytes are sent again, and nothing is counted."""
    receiver.misbehave(fault, times=1)
    assert send(exporter_to(receiver, protocol), number=2)
    assert [len(request.records) for request in receiver.requests] == [2, 2]
    assert not health.dropped()


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partial_success_is_counted(receiver, protocol, signal):
    """What a receiver says that it rejected is counted, over gRPC too."""
    receiver.misbehave(Fault(rejected=3, message="too old"))
    assert send(exporter_to(receiver, protocol, signal), signal, 5)
    assert health.dropped() == {(signal, "rejected"): 3}


def test_partial_success_of_metrics_is_counted_over_grpc(receiver):
    """Metrics are sent as objects, and what is answered is looked at as well."""
    from export.records import collected

    from otel_ml.export.otlp import metric_exporter

    receiver.misbehave(Fault(rejected=1, message="too old"))
    exporter = metric_exporter(Endpoint(receiver.grpc_url, "grpc"))
    assert exporter.export(collected()).name == "SUCCESS"
    exporter.shutdown()
    assert health.dropped() == {("metrics", "rejected"): 1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_refusal_is_not_delivered(receiver, protocol):
    """It is counted with the number of records, and said."""
    receiver.misbehave(Fault(status=400))
    exporter = exporter_to(receiver, protocol)
    block = block_of(number=7)
    Sending("traces", sender_of(exporter), exporter)(block.content, block.number)
    assert health.dropped() == {("traces", "export_failed"): 7}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_after_shutdown_nothing_is_sent(receiver, protocol):
    """An exporter that was shut down delivers nothing."""
    exporter = exporter_to(receiver, protocol)
    exporter.shutdown()
    assert not send(exporter)
    assert not receiver.requests


def test_a_request_that_is_too_large_is_not_sent(receiver):
    """The exporter's own bound holds for bytes."""
    exporter = OTLPSpanExporter(f"{receiver.http_url}/v1/traces", max_request_size=10)
    assert not send(exporter)
    assert not receiver.requests


def test_the_exporters_own_metrics_count_what_is_sent(receiver, monkeypatch):
    """Where the SDK measures itself, bytes are measured as objects are."""
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], RESOURCE, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{receiver.http_url}/v1/traces", meter_provider=provider)
    assert send(exporter, number=4)
    receiver.misbehave(Fault(status=400))
    assert not send(exporter, number=3)
    (resource,) = reader.get_metrics_data().resource_metrics
    points = {
        metric.name: [(point.value, "error.type" in point.attributes) for point in metric.data.data_points]
        for metric in resource.scope_metrics[0].metrics
        if metric.name == "otel.sdk.exporter.span.exported"
    }
    assert sum(value for value, _ in points["otel.sdk.exporter.span.exported"]) == 7
    provider.shutdown()


# Releases that do it in another way


@pytest.mark.parametrize("kind", [OTLPSpanExporter, OTLPLogExporter])
def test_this_release_has_the_way_that_bytes_take(kind):
    """When this fails, the stock exporter over HTTP has changed: `sdk_compat.http_sender` has to follow."""
    assert sdk_compat.http_sender(kind("http://127.0.0.1:9")) is not None


def test_this_release_over_grpc_has_the_way_that_bytes_take():
    """When this fails, the stock exporter over gRPC has changed: `sdk_compat.use_grpc_stub` has to follow."""
    exporter = span_exporter(Endpoint("http://127.0.0.1:9", "grpc"))
    assert exporter.takes_encoded
    exporter.shutdown()


@pytest.mark.parametrize(
    "exporter",
    [
        SimpleNamespace(),
        SimpleNamespace(_client=None),
        SimpleNamespace(_client=SimpleNamespace(export=lambda batch, timeout: None)),
        SimpleNamespace(_client=SimpleNamespace(export=lambda data: None)),
    ],
)
def test_a_release_without_that_way_is_given_objects(exporter):
    """Private names that are missing, or mean something else, are noticed before anything is sent."""
    assert sdk_compat.http_sender(exporter) is None
    assert not sdk_compat.use_grpc_stub(exporter, lambda channel: None)


def test_spans_arrive_as_objects_when_bytes_cannot(receiver, monkeypatch):
    """The way around: slower, and just as complete."""
    from otel_ml.options import Traces
    from otel_ml.spans.queue import QueueSpanProcessor

    monkeypatch.setattr(sending.sdk_compat, "http_sender", lambda exporter: None)
    processor = QueueSpanProcessor(exporter_to(receiver, "http/protobuf"), Traces(interval=0.01))
    sink = OtlpSink(exporter_to(receiver, "http/protobuf", "logs"), RESOURCE, queue_size=10)
    for span in spans("a", "b"):
        processor._queue.put(span)
    sink.put(log("c"))
    assert processor.close(20) and sink.close(20)
    assert [span.name for span in receiver.records("traces")] == ["a", "b"]
    assert [record.body.string_value for record in receiver.records("logs")] == ["c"]


# Forks

FORKS = """
    import os
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext
    from otel_ml.export.otlp import Endpoint, span_exporter
    from otel_ml.export.otlp_protobuf import SpanEncoder
    from otel_ml.export.sending import sender_of

    exporter = span_exporter(Endpoint(os.environ["URL"], os.environ["PROTOCOL"]))
    send = sender_of(exporter)
    def one(name):
        span = ReadableSpan(name, SpanContext(1, 2, is_remote=False), resource=Resource({}))
        return send(*reversed(SpanEncoder().encode([span])))
    assert one("parent")
    for number in range(4):
        child = os.fork()
        if child == 0:
            os._exit(0 if one(f"child-{number}") and one(f"child-{number}") else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert one("parent")
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_forked_children_send_too(receiver, protocol):
    """A sender that was made before the fork uses the child's own connections."""
    done = run_python(FORKS, env={"URL": receiver.url(protocol), "PROTOCOL": protocol}, timeout=120)
    assert done.returncode == 0, done.stderr
    names = sorted(span.name for span in receiver.records("traces"))
    assert names == sorted([*[f"child-{number}" for number in range(4)] * 2, *["parent"] * 5])
