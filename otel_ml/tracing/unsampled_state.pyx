"""`unsampled_state.py` in C: where this is compiled, it is found first."""

from libc.stdint cimport uint64_t

from otel_ml.tracing.random_ids cimport draw_ids

from otel_ml.tracing import sdk_layout

cdef object ALL = 1 << 64


cdef class UnsampledState:
    """See `unsampled_state.py`; the ids become objects when somebody asks for them."""

    @property
    def _trace_id(self):
        return (<object>self._high << 64) | self._low

    @property
    def _span_id(self):
        return self._number

    def get_span_context(self):
        """Return the span's context, made at the first call."""
        if self._span_context is None:
            self._span_context = sdk_layout.span_context(
                self._trace_id, self._span_id, self._trace_flags, self._trace_state
            )
        return self._span_context

    def end(self, end_time=None):
        """End the span, of which nobody is told."""


cpdef draw(UnsampledState state, flags):
    """Begin a trace, with ids of its own."""
    draw_ids(&state._high, &state._low, &state._number)
    state._trace_flags = flags
    state._trace_state = state._span_context = None


cpdef follow(UnsampledState state, trace_id, span_id, flags, trace_state):
    """Be a span of a trace that there is."""
    state._high, state._low, state._number = trace_id >> 64, trace_id & 0xFFFFFFFFFFFFFFFF, span_id
    state._trace_flags = flags
    state._trace_state = trace_state
    state._span_context = None


cpdef bint is_below(UnsampledState state, bound) except -1:
    """Whether a sampler that samples the trace ids below a bound would sample it."""
    return bound == ALL or state._low < <uint64_t>bound
