"""The SDK's private names for what a span holds, as views."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from otel_ml.tracing import sdk_layout
from otel_ml.tracing.shared import SharedState
from otel_ml.tracing.span_state import SpanState


class SpanLayout(SpanState, sdk.Span):
    """A span that is one of the SDK's.

    The SDK's own methods, and many programs, read and write its private names: those that hold no state are properties.
    """

    __slots__ = ()

    def _begin(
        self, shared: SharedState, name: str, context: SpanContext, parent: SpanContext | None, kind: SpanKind
    ) -> None:
        """Set the slots of a span that does not come the short way; its context may be a test's double."""
        known = isinstance(context, SpanContext)
        self._shared = shared
        self._name, self._parent, self._kind, self._span_context = name, parent, kind, context
        self._trace_flags = context.trace_flags if known else sdk_layout.FLAGS[TraceFlags.SAMPLED]
        flags: object = self._trace_flags
        self._sampled = isinstance(flags, int) and bool(flags & TraceFlags.SAMPLED)
        self._trace_id = context.trace_id if known else 0
        self._span_id = context.span_id if known else 0
        self._trace_state = context.trace_state if known else None
        self._start_time = self._end_time = None
        self._values = self._bounded = self._event_list = self._link_list = self._record_id = self._slow_lock = None
        self._dropped = 0
        self._status = sdk_layout.UNSET

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

    # Each of the following makes what is missing before it looks again and stores: so of two threads one wins.
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
