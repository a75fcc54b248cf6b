cimport cython

from otel_ml.primitives cimport blank
from otel_ml.tracing.unsampled_state cimport UnsampledState, draw, follow

@cython.locals(span=UnsampledState)
cpdef unsampled(trace_id, span_id, flags, state)

@cython.locals(span=UnsampledState)
cpdef UnsampledState drawn(flags)
