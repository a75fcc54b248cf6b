"""Spans to OTLP-JSON."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, Status

from otel_ml.export.otlp_json.envelope import Groups, Scopes, attempt, line, resource, scope, scopes
from otel_ml.export.otlp_json.values import Json, attributes, span_id, text, trace_id, unsigned

HAS_IS_REMOTE = 0x100  # SpanFlags of the OTLP trace proto: whether the parent is remote is known, and that it is
IS_REMOTE = 0x200


def encode_spans(batch: Sequence[ReadableSpan]) -> bytes:
    """Return ended spans as one line of OTLP-JSON, an ExportTraceServiceRequest.

    A span that cannot be encoded is left out, counted as `encode_failed` and warned about once.
    """
    groups: Groups[Resource, Scopes] = Groups(scopes)
    for span in batch:
        encoded = attempt("traces", span, _span)
        if encoded is not None:
            groups.of(span.resource).of(span.instrumentation_scope).append(encoded)
    return line(
        {
            "resourceSpans": [
                {**resource(about), "scopeSpans": [{**scope(by), "spans": spans} for by, spans in inner.items]}
                for about, inner in groups.items
            ]
        }
    )


def _span(span: ReadableSpan) -> Json:
    context = span.get_span_context()
    if context is None:
        raise ValueError("the span has no context")
    encoded: Json = {
        "traceId": trace_id(context.trace_id),
        "spanId": span_id(context.span_id),
        "flags": _flags(span.parent),
        "name": text(span.name),
        "kind": span.kind.value + 1,
        "status": _status(span.status),
    }
    if context.trace_state:
        encoded["traceState"] = ",".join(f"{key}={value}" for key, value in context.trace_state.items())
    if span.parent is not None:
        encoded["parentSpanId"] = span_id(span.parent.span_id)
    if span.start_time is not None:
        encoded["startTimeUnixNano"] = unsigned(span.start_time)
    if span.end_time is not None:
        encoded["endTimeUnixNano"] = unsigned(span.end_time)
    encoded["attributes"] = attributes(span.attributes)
    events, links = span.events, span.links  # made anew each time they are read
    if events:
        encoded["events"] = [_event(event) for event in events]
    if links:
        encoded["links"] = [_link(link) for link in links]
    _add_losses(encoded, span)
    return encoded


def _add_losses(encoded: Json, span: ReadableSpan) -> None:
    if span.dropped_attributes:
        encoded["droppedAttributesCount"] = span.dropped_attributes
    if span.dropped_events:
        encoded["droppedEventsCount"] = span.dropped_events
    if span.dropped_links:
        encoded["droppedLinksCount"] = span.dropped_links


def _event(event: Event) -> Json:
    encoded: Json = {
        "timeUnixNano": unsigned(event.timestamp),
        "name": text(event.name),
        "attributes": attributes(event.attributes),
    }
    if event.dropped_attributes:
        encoded["droppedAttributesCount"] = event.dropped_attributes
    return encoded


def _link(link: Link) -> Json:
    encoded: Json = {
        "traceId": trace_id(link.context.trace_id),
        "spanId": span_id(link.context.span_id),
        "flags": _flags(link.context),
        "attributes": attributes(link.attributes),
    }
    if link.dropped_attributes:
        encoded["droppedAttributesCount"] = link.dropped_attributes
    return encoded


def _status(status: Status) -> Json:
    encoded: Json = {"code": status.status_code.value} if status.status_code.value else {}
    if status.description:
        encoded["message"] = text(status.description)
    return encoded


def _flags(context: SpanContext | None) -> int:
    return HAS_IS_REMOTE | IS_REMOTE if context is not None and context.is_remote else HAS_IS_REMOTE
