"""The span that is not sampled: it records nothing, and hands its context on when somebody asks for it."""

from __future__ import annotations

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_ml.primitives import blank
from otel_ml.tracing.unsampled_state import UnsampledState, draw, follow


class UnsampledSpan(UnsampledState, NonRecordingSpan):
    """See `opentelemetry.trace.NonRecordingSpan`."""

    __slots__ = ()

    @property
    def _context(self) -> SpanContext:  # type: ignore[override]
        return self.get_span_context()


def unsampled(trace_id: int, span_id: int, flags: TraceFlags, state: TraceState | None) -> UnsampledSpan:
    """Return a span that is not sampled, with these parts of its context."""
    span: UnsampledSpan = blank(UnsampledSpan)
    follow(span, trace_id, span_id, flags, state)
    return span


def drawn(flags: TraceFlags) -> UnsampledSpan:
    """Return a span that is not sampled, of a new trace."""
    span: UnsampledSpan = blank(UnsampledSpan)
    draw(span, flags)
    return span
