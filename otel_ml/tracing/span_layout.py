"""Where a span keeps its state, and the SDK's private names for it, as views."""

from __future__ import annotations

import threading
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_ml.tracing import sdk_layout
from otel_ml.tracing.shared import SharedState

UNSET: Final = Status(StatusCode.UNSET)


class SpanLayout(sdk.Span):
    """The slots of a span. What few spans have is None until it is needed.

    The SDK's own methods, and many programs, read and write its private names: those that are no slot are properties.
    `_bounded` is the SDK's mapping of attributes, once somebody has asked for it; from then on it takes all writes.
    """

    __slots__ = (
        "_bounded",
        "_dropped",
        "_end_time",
        "_event_list",
        "_kind",
        "_link_list",
        "_name",
        "_parent",
        "_record_end_metrics",
        "_record_exception",
        "_set_status_on_exception",
        "_shared",
        "_slow_lock",
        "_span_context",
        "_span_id",
        "_start_time",
        "_status",
        "_trace_flags",
        "_trace_id",
        "_trace_state",
        "_values",
    )

    _bounded: Any
    _dropped: int
    _end_time: int | None
    _event_list: Any
    _link_list: Any
    _record_end_metrics: Any
    _shared: SharedState
    _slow_lock: Any
    _span_context: SpanContext | None
    _span_id: int
    _start_time: int | None
    _trace_flags: TraceFlags
    _trace_id: int
    _trace_state: TraceState | None
    _values: dict[str, Any] | None

    def _begin(
        self, shared: SharedState, name: str, context: SpanContext, parent: SpanContext | None, kind: SpanKind
    ) -> None:
        """Set the slots of a span that does not come the short way; its context may be a test's double."""
        known = isinstance(context, SpanContext)
        self._shared = shared
        self._name, self._parent, self._kind, self._span_context = name, parent, kind, context
        self._trace_flags = context.trace_flags if known else sdk_layout.FLAGS[TraceFlags.SAMPLED]
        self._trace_id = context.trace_id if known else 0
        self._span_id = context.span_id if known else 0
        self._trace_state = context.trace_state if known else None
        self._start_time = self._end_time = None
        self._values = self._bounded = self._event_list = self._link_list = self._slow_lock = None
        self._dropped = 0
        self._status = UNSET

    @property
    def _resource(self) -> Resource:  # type: ignore[override]
        return self._shared.resource

    @property
    def _instrumentation_scope(self) -> Any:  # type: ignore[override]
        return self._shared.scope

    @property
    def _instrumentation_info(self) -> Any:  # type: ignore[override]
        return self._shared.info

    @property
    def _limits(self) -> SpanLimits:
        return self._shared.limits

    @property
    def _span_processor(self) -> SpanProcessor:  # type: ignore[override]
        return self._shared.processor

    @property
    def _sampler(self) -> Any:  # type: ignore[override]
        return self._shared.sampler

    @property
    def _context(self) -> SpanContext:
        return self.get_span_context()

    @_context.setter
    def _context(self, context: SpanContext) -> None:
        self._span_context = context

    def _lock_of_slow_writes(self) -> Any:
        """Return the lock of the few writes that need more than one store, made at the first of them.

        One a span, as the SDK has it: under it run the caller's `__str__` and, for warnings, log handlers. Re-entrant,
        for these may write to the span too.
        """
        if self._slow_lock is None:
            made = threading.RLock()
            if self._slow_lock is None:
                self._slow_lock = made
        return self._slow_lock

    # Each of the following makes what is missing before it looks again and stores: so of two threads one wins.
    @property
    def _attributes(self) -> Any:
        if self._bounded is None:
            if self._values is None:
                self._values = {}
            limits, ended = self._shared.limits, self._end_time is not None
            made = sdk_layout.bounded(
                self._values, self._dropped, limits.max_span_attributes, limits.max_span_attribute_length,
                immutable=ended,
            )  # fmt: skip
            if self._bounded is None:
                self._bounded = made
        return self._bounded

    @_attributes.setter
    def _attributes(self, attributes: Any) -> None:
        self._values = sdk_layout.values_of(attributes) if isinstance(attributes, BoundedAttributes) else attributes
        self._bounded = attributes

    @property
    def _events(self) -> Any:
        if self._event_list is None:
            made: BoundedList[Any] = BoundedList(self._shared.limits.max_events)
            if self._event_list is None:
                self._event_list = made
        return self._event_list

    @_events.setter
    def _events(self, events: Any) -> None:
        self._event_list = events

    @property
    def _links(self) -> Any:
        if self._link_list is None:
            made: BoundedList[Any] = BoundedList(self._shared.limits.max_links)
            if self._link_list is None:
                self._link_list = made
        return self._link_list

    @_links.setter
    def _links(self, links: Any) -> None:
        self._link_list = links
