cimport cython

from otel_ml.unmasked cimport masked_mapping, masked_text

from otel_ml.tracing.span_state cimport SpanState

cpdef masked(span)

cdef bint _is_harmless(SpanState span)
