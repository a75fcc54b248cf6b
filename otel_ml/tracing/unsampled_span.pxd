cimport cython

from otel_ml.primitives cimport blank

cdef class UnsampledState:
    cdef public object _span_context, _span_id, _trace_flags, _trace_id, _trace_state

@cython.locals(span=UnsampledState)
cpdef unsampled(trace_id, span_id, flags, state)
