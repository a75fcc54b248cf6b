cimport cython

from otel_ml.unmasked cimport masked_mapping, masked_text

from otel_ml.tracing.span_state cimport SpanState

cpdef masked(span)

cdef object BoundedAttributes, UNSET, values_of

cdef bint _is_harmless(SpanState span) except -1
cdef bint _is_harmless_event(event) except -1
cdef _status(status)
