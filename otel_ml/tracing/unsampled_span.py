"""The span that is not sampled: it records nothing, and hands its context on when somebody asks for it."""

from __future__ import annotations

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_ml.tracing import sdk_layout


class UnsampledSpan(NonRecordingSpan):
    """See `opentelemetry.trace.NonRecordingSpan`; its context is made at the first call."""

    __slots__ = ("_span_context", "_span_id", "_trace_flags", "_trace_id", "_trace_state")

    _span_context: SpanContext | None
    _span_id: int
    _trace_flags: TraceFlags
    _trace_id: int
    _trace_state: TraceState | None

    def get_span_context(self) -> SpanContext:
        """Return the span's context."""
        context = self._span_context
        if context is None:
            made = sdk_layout.span_context(self._trace_id, self._span_id, self._trace_flags, self._trace_state)
            context = self._span_context = made
        return context

    @property
    def _context(self) -> SpanContext:  # type: ignore[override]
        return self.get_span_context()


_new = object.__new__


def unsampled(trace_id: int, span_id: int, flags: TraceFlags, state: TraceState | None) -> UnsampledSpan:
    """Return a span that is not sampled, with these parts of its context."""
    span = _new(UnsampledSpan)
    span._trace_id, span._span_id = trace_id, span_id
    span._trace_flags, span._trace_state = flags, state
    span._span_context = None
    return span
