"""What is sent over HTTP, over gRPC and written to files is the same."""

from __future__ import annotations

import os

import pytest
from export import samples
from hypothesis import HealthCheck, given, settings

from otel_ml import health
from otel_ml.export.log_file import FileLogExporter
from otel_ml.export.metric_file import FileMetricExporter
from otel_ml.export.otlp import Endpoint, log_exporter, metric_exporter, span_exporter
from otel_ml.export.span_file import FileSpanExporter
from receivers import OtlpReceiver, read_file

MAKERS = {
    "traces": (span_exporter, FileSpanExporter),
    "logs": (log_exporter, FileLogExporter),
    "metrics": (metric_exporter, FileMetricExporter),
}
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def everywhere(tmp_path):
    """Export a batch in all three ways and return the three requests as they arrived."""
    with OtlpReceiver() as receiver:
        exporters = {}
        for signal, (over_network, to_file) in MAKERS.items():
            endpoints = [Endpoint(receiver.http_url, "http/protobuf"), Endpoint(receiver.grpc_url, "grpc")]
            exporters[signal] = [to_file(tmp_path), *(over_network(endpoint) for endpoint in endpoints)]

        def export(signal, batch):
            before = len(receiver.requests)
            assert [exporter.export(batch).name for exporter in exporters[signal]] == ["SUCCESS"] * 3
            http, grpc = receiver.requests[before:]
            assert (http.protocol, grpc.protocol) == ("http", "grpc")
            return read_file(signal, tmp_path / f"{signal}-{os.getpid()}.jsonl")[-1], http.message, grpc.message

        yield export
        for exporter in [exporter for group in exporters.values() for exporter in group]:
            exporter.shutdown()


def assert_same(requests):
    written, http, grpc = (request.SerializeToString(deterministic=True) for request in requests)
    equal = written == http == grpc
    assert equal, "the requests differ"  # pytest's own explanation of large ones takes minutes
    assert not health.dropped()


@few
@given(batch=samples.span_batches.filter(len))
def test_spans_are_the_same_everywhere(everywhere, batch):
    """Any spans parse to equal messages from a file, over HTTP and over gRPC."""
    assert_same(everywhere("traces", batch))


@few
@given(batch=samples.log_batches.filter(len))
def test_logs_are_the_same_everywhere(everywhere, batch):
    """Any log records parse to equal messages from a file, over HTTP and over gRPC."""
    assert_same(everywhere("logs", batch))


@few
@given(data=samples.metrics_data.filter(lambda data: data.resource_metrics))
def test_metrics_are_the_same_everywhere(everywhere, data):
    """Any metrics parse to equal messages from a file, over HTTP and over gRPC."""
    assert_same(everywhere("metrics", data))
