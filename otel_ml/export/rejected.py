"""Partial success: what a receiver answered that it did not take."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_ml import health


def count_rejected(signal: str, body: bytes) -> None:
    """Count the records that an OTLP answer says were rejected, and say why once.

    Args:
        signal: `traces`, `logs` or `metrics`.
        body: Body of the answer, a protobuf message; empty when all was accepted.
    """
    try:
        number, reason = _read(signal, body)
    except DecodeError:
        health.warn_once(
            f"answer:{signal}",
            "the endpoint for %s answered with something that is not OTLP: is it an OTLP receiver?",
            signal,
        )
        return
    if number > 0:
        health.count_dropped(signal, "rejected", number)
        health.warn_once(
            f"rejected:{signal}",
            "the endpoint rejected %d of the %s sent to it (further ones are only counted): %s",
            number,
            signal,
            reason[:500] or "it gave no reason",
        )


def _read(signal: str, body: bytes) -> tuple[int, str]:
    if signal == "traces":
        traces = ExportTraceServiceResponse.FromString(body).partial_success
        return traces.rejected_spans, traces.error_message
    if signal == "logs":
        logs = ExportLogsServiceResponse.FromString(body).partial_success
        return logs.rejected_log_records, logs.error_message
    metrics = ExportMetricsServiceResponse.FromString(body).partial_success
    return metrics.rejected_data_points, metrics.error_message
