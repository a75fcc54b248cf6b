"""The span that is not sampled: it records nothing, and hands its context on when somebody asks for it."""

from __future__ import annotations

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_ml.primitives import blank
from otel_ml.tracing import sdk_layout


class UnsampledState:
    """What a span that is not sampled holds. It is compiled where that can be done."""

    __slots__ = ("_span_context", "_span_id", "_trace_flags", "_trace_id", "_trace_state")

    _span_context: SpanContext | None
    _span_id: int
    _trace_flags: TraceFlags
    _trace_id: int
    _trace_state: TraceState | None

    def get_span_context(self) -> SpanContext:
        """Return the span's context, made at the first call."""
        if self._span_context is None:
            self._span_context = sdk_layout.span_context(
                self._trace_id, self._span_id, self._trace_flags, self._trace_state
            )
        return self._span_context


class UnsampledSpan(UnsampledState, NonRecordingSpan):
    """See `opentelemetry.trace.NonRecordingSpan`."""

    __slots__ = ()

    @property
    def _context(self) -> SpanContext:  # type: ignore[override]
        return self.get_span_context()


def unsampled(trace_id: int, span_id: int, flags: TraceFlags, state: TraceState | None) -> UnsampledSpan:
    """Return a span that is not sampled, with these parts of its context."""
    span: UnsampledSpan = blank(UnsampledSpan)
    span._trace_id = trace_id
    span._span_id = span_id
    span._trace_flags = flags
    span._trace_state = state
    span._span_context = None
    return span
