"""How the encoder reads spans: by the slots that spans of our own tracer have, which other spans are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanKind, Status
from opentelemetry.trace.span import TraceState


class Slots(Protocol):
    """What `otel_ml.tracing.span.Span` has, once it has ended."""

    _shared: Any
    """Has `resource` and `scope`."""
    _name: str
    _trace_id: int
    _span_id: int
    _trace_state: TraceState | None
    _parent: Any
    """A span context, which is a tuple: trace id, span id, whether it is remote."""
    _kind: SpanKind
    _start_time: int | None
    _end_time: int | None
    _values: Mapping[str, Any] | None
    _record_id: str | None
    """An attribute beside these, as long as they are shared with other spans."""
    _dropped: int
    _bounded: object
    """When it is not None, `dropped_attributes` counts."""
    _event_list: object
    """When it is None, there are no `events`, and none were dropped."""
    _link_list: object
    _status: Status

    @property
    def attributes(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def events(self) -> Sequence[Event]: ...  # noqa: D102
    @property
    def links(self) -> Sequence[Link]: ...  # noqa: D102
    @property
    def dropped_attributes(self) -> int: ...  # noqa: D102
    @property
    def dropped_events(self) -> int: ...  # noqa: D102
    @property
    def dropped_links(self) -> int: ...  # noqa: D102


_SLOTS = tuple(name for name in Slots.__annotations__)


def has_slots(kind: type) -> bool:
    """Whether spans of a class can be read as they are."""
    return all(hasattr(kind, name) for name in _SLOTS)


def slots_of(span: ReadableSpan) -> Any:
    """Return what the encoder reads, taken from a span's public properties.

    Raises:
        Exception: It is no span, or has no context.
    """
    context = span.get_span_context()
    if context is None:
        raise ValueError("the span has no context")
    return SimpleNamespace(
        _shared=SimpleNamespace(resource=span.resource, scope=span.instrumentation_scope),
        _name=span.name,
        _trace_id=context.trace_id,
        _span_id=context.span_id,
        _trace_state=context.trace_state,
        _parent=span.parent,
        _kind=span.kind,
        _start_time=span.start_time,
        _end_time=span.end_time,
        _values=span.attributes,
        _record_id=None,
        _dropped=span.dropped_attributes,
        _bounded=None,
        _event_list=span,
        _link_list=span,
        _status=span.status,
        events=span.events,
        links=span.links,
        dropped_events=span.dropped_events,
        dropped_links=span.dropped_links,
    )
