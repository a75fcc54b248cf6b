cimport cython

from otel_ml.current_span cimport get_context
from otel_ml.instruments cimport SpanStarter
from otel_ml.primitives cimport item, plain_tuple
from otel_ml.tracing.random_ids cimport span_id as new_span_id, trace_id as new_trace_id
from otel_ml.tracing.shared cimport SharedState
from otel_ml.tracing.span_state cimport SpanState, begun
from otel_ml.tracing.unsampled_span cimport drawn, unsampled
from otel_ml.tracing.unsampled_state cimport UnsampledState, is_below

cdef object ALWAYS, CleanAttributes, FLAGS, SPAN_KEY, _RANDOM

cdef class Starter(SpanStarter):
    cdef public object ask
    cdef public tuple bounds
    cdef public bint locks
    cdef public SharedState shared

    cpdef compile(self, SharedState shared, bounds, span_class)

    @cython.locals(shared=SharedState, span=SpanState, known=tuple, bounds=tuple, root=UnsampledState)
    cpdef start(self, name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)

    @cython.locals(own=SpanState)
    cdef _context_of(self, parent)
