"""What histogram and counter cells collected is sent as what it is."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as official_metrics
from opentelemetry.sdk.metrics import TraceBasedExemplarFilter
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_ml import conventions
from otel_ml.export.otlp import Endpoint, metric_exporter
from otel_ml.export.otlp_json.metrics import encode_metrics
from otel_ml.metrics.meter import MeterProvider
from otel_ml.metrics.readers import ScrapeReader
from receivers import OtlpReceiver, parse_line

SPAN = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
names = st.sampled_from(["a", "b"])
models = st.sampled_from(["churn", "fraud", "caf\u00e9"])
measurements = st.lists(
    st.tuples(names, models, st.floats(0, 1e6) | st.sampled_from([0.001, 0.01]), st.booleans()), max_size=30
)


def collected(drawn):
    """Return what a reader has after these measurements, each in a histogram and a counter."""
    provider = MeterProvider(Resource({"service.name": "shop"}), TraceBasedExemplarFilter(), max_series=100)
    reader = ScrapeReader(provider.instruments, max_series=100)
    provider.add_metric_reader(reader)
    provider.get_meter("another").create_gauge("level").set(1)  # without one of the SDK's, its readers collect nothing
    meter = provider.get_meter(conventions.SCOPE, "1")
    for name, model, value, in_span in drawn:
        with trace.use_span(SPAN if in_span else trace.INVALID_SPAN):
            attributes = {"model": model}
            meter.create_histogram(f"h.{name}", "s", explicit_bucket_boundaries_advisory=[0.001, 0.01]).record(
                value, attributes
            )
            meter.create_counter(f"c.{name}").add(int(value), attributes)
    data = reader.read()
    provider.shutdown()
    return data


def total(message, field):
    """Sum of a field over all points of all metrics of one kind."""
    metrics = [
        metric for resource in message.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    kind = "histogram" if field == "count" else "sum"
    points = itertools.chain(*(getattr(metric, kind).data_points for metric in metrics if metric.HasField(kind)))
    return sum(getattr(point, field) for point in points)


@settings(max_examples=25)
@given(measurements.filter(len))
def test_cells_arrive_as_the_official_encoding(drawn):
    """Over HTTP, over gRPC and in a line of a file, what cells collected is the official encoder's message."""
    data = collected(drawn)
    expected = official_metrics(data)
    assert total(expected, "count") == len(drawn)
    assert total(expected, "as_int") == sum(int(value) for _, _, value, _ in drawn)
    with OtlpReceiver() as receiver:
        for endpoint in (Endpoint(receiver.http_url, "http/protobuf"), Endpoint(receiver.grpc_url, "grpc")):
            exporter = metric_exporter(endpoint)
            assert exporter.export(data).name == "SUCCESS"
            exporter.shutdown()
        messages = [request.message for request in receiver.requests]
    messages.append(parse_line("metrics", encode_metrics(data)))
    wanted = expected.SerializeToString(deterministic=True)
    assert [message.SerializeToString(deterministic=True) == wanted for message in messages] == [True] * 3
