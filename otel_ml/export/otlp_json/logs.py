"""Log records to OTLP-JSON."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource

from otel_ml.export.otlp_json.envelope import Groups, Scopes, attempt, line, resource, scope, scopes
from otel_ml.export.otlp_json.values import Json, any_value, attributes, span_id, text, trace_id, unsigned


def encode_logs(batch: Sequence[ReadableLogRecord]) -> bytes:
    """Return log records as one line of OTLP-JSON, an ExportLogsServiceRequest.

    A record that cannot be encoded is left out, counted as `encode_failed` and warned about once.
    """
    groups: Groups[Resource, Scopes] = Groups(scopes)
    for record in batch:
        encoded = attempt("logs", record, _record)
        if encoded is not None:
            groups.of(record.resource).of(record.instrumentation_scope).append(encoded)
    return line(
        {
            "resourceLogs": [
                {**resource(about), "scopeLogs": [{**scope(by), "logRecords": records} for by, records in inner.items]}
                for about, inner in groups.items
            ]
        }
    )


def _record(readable: ReadableLogRecord) -> Json:
    record = readable.log_record
    encoded: Json = {"body": any_value(record.body), "attributes": attributes(record.attributes)}
    if record.timestamp is not None:
        encoded["timeUnixNano"] = unsigned(record.timestamp)
    if record.observed_timestamp is not None:
        encoded["observedTimeUnixNano"] = unsigned(record.observed_timestamp)
    if record.severity_number is not None:
        encoded["severityNumber"] = record.severity_number.value
    if record.severity_text:
        encoded["severityText"] = text(record.severity_text)
    if record.event_name:
        encoded["eventName"] = text(record.event_name)
    if record.trace_id:
        encoded["traceId"] = trace_id(record.trace_id)
    if record.span_id:
        encoded["spanId"] = span_id(record.span_id)
    if record.trace_flags:
        encoded["flags"] = int(record.trace_flags)
    if readable.dropped_attributes:
        encoded["droppedAttributesCount"] = readable.dropped_attributes
    return encoded
