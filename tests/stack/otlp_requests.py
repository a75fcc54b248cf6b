"""OTLP requests made by hand, and a gateway whose three stores are one receiver of ours."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from receivers import OtlpReceiver
from stack.servers import TOKEN, Server, gateway, running

# Our receiver takes gzip, and no zstd.
READABLE = """
exporters:
  otlp_http/loki: {compression: gzip}
  otlp_http/tempo: {compression: gzip}
  otlp_http/tempo_sampled: {compression: gzip}
"""
SERVICE = {"service.name": "credit-api"}


def any_value(value: Any) -> AnyValue:
    """Return a value as OTLP has it."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    return AnyValue(string_value=value)


def pairs(facts: Mapping[str, Any]) -> list[KeyValue]:
    """Return attributes as OTLP has them."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in facts.items()]


def plain(value: AnyValue) -> Any:
    """Return what a value of OTLP stands for."""
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return facts(value.kvlist_value.values)
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


def facts(attributes: Any) -> dict[str, Any]:
    """Return attributes of OTLP as a dictionary."""
    return {pair.key: plain(pair.value) for pair in attributes}


def span(name: str = "predict credit", *, seconds: float = 0.005, error: str = "", **fields: Any) -> Span:
    """Return a span that ends now: in a trace of its own, unless `trace_id` says another."""
    attributes, now = fields.pop("attributes", {}), time.time_ns()
    return Span(
        name=name,
        trace_id=fields.pop("trace_id", None) or secrets.token_bytes(16),
        span_id=secrets.token_bytes(8),
        start_time_unix_nano=now - int(seconds * 1e9),
        end_time_unix_nano=now,
        attributes=pairs(attributes),
        status=Status(code=Status.STATUS_CODE_ERROR, message=error) if error else None,
        **fields,
    )


def traces(spans: list[Span], resource: Mapping[str, Any] = SERVICE) -> ExportTraceServiceRequest:
    """Return a request with these spans."""
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.extend(pairs(resource))
    of_resource.scope_spans.add().spans.extend(spans)
    return request


def logs(records: list[LogRecord], resource: Mapping[str, Any] = SERVICE) -> ExportLogsServiceRequest:
    """Return a request with these records."""
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add()
    of_resource.resource.attributes.extend(pairs(resource))
    of_resource.scope_logs.add().log_records.extend(records)
    return request


def record(body: Any, attributes: Mapping[str, Any] | None = None, **fields: Any) -> LogRecord:
    """Return a log record of now."""
    return LogRecord(
        time_unix_nano=time.time_ns(),
        body=any_value(body),
        attributes=pairs(attributes or {}),
        severity_number=9,
        **fields,
    )


def counter(
    value: int, attributes: Mapping[str, Any], resource: Mapping[str, Any] = SERVICE
) -> ExportMetricsServiceRequest:
    """Return a request with one point of one counter."""
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.extend(pairs(resource))
    metric = of_resource.scope_metrics.add().metrics.add(name="test.count")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    point = metric.sum.data_points.add(as_int=value, time_unix_nano=time.time_ns())
    point.attributes.extend(pairs(attributes))
    return request


PATHS = {
    ExportTraceServiceRequest: "/v1/traces",
    ExportLogsServiceRequest: "/v1/logs",
    ExportMetricsServiceRequest: "/v1/metrics",
}


def send(server: Server, request: Any, token: str | None = TOKEN) -> httpx.Response:
    """Send a request over HTTP and return the answer."""
    headers = {"Content-Type": "application/x-protobuf", **({"Authorization": f"Bearer {token}"} if token else {})}
    return httpx.post(
        server.otlp + PATHS[type(request)], content=request.SerializeToString(), headers=headers, timeout=60
    )


@contextmanager
def gateway_into(stores: OtlpReceiver, directory: Path, *overlays: Path, **environment: str) -> Iterator[Server]:
    """Run a gateway that takes a receiver for all of its stores."""
    readable = directory / "readable.yaml"
    readable.write_text(READABLE)
    names = ("LOKI", "TEMPO", "PROMETHEUS")
    settings = {f"OTEL_ML_{name}_ENDPOINT": stores.http_url for name in names}
    server = gateway(directory, {**settings, "OTEL_ML_SPAN_METRICS_INTERVAL": "1s", **environment}, readable, *overlays)
    with running(server):
        yield server
