"""What a span that is not sampled holds: ids that nearly nobody asks for."""

from __future__ import annotations

from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_ml.tracing import random_ids, sdk_layout
from otel_ml.tracing.sampling import TRACE_ID_MASK


class UnsampledState:
    """Ids, flags and trace state, and the span context once it was asked for."""

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

    def end(self, end_time: int | None = None) -> None:
        """End the span, of which nobody is told."""


def draw(state: UnsampledState, flags: TraceFlags) -> None:
    """Begin a trace, with ids of its own."""
    follow(state, random_ids.trace_id(), random_ids.span_id(), flags, None)


def follow(
    state: UnsampledState, trace_id: int, span_id: int, flags: TraceFlags, trace_state: TraceState | None
) -> None:
    """Be a span of a trace that there is."""
    state._trace_id = trace_id
    state._span_id = span_id
    state._trace_flags = flags
    state._trace_state = trace_state
    state._span_context = None


def is_below(state: UnsampledState, bound: int) -> bool:
    """Whether a sampler that samples the trace ids below a bound would sample it."""
    return state._trace_id & TRACE_ID_MASK < bound
