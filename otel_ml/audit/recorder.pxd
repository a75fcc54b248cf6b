cimport cython

from otel_ml.tracing.random_ids cimport uuid7
from otel_ml.tracing.span_state cimport SpanState

cdef object current_redactor

cdef class Recorder:
    cdef object _count, _max_rows, _pseudonym, _writer
    cdef bint _waits

    cpdef record_id(self)

    cpdef captured(self, features)

    @cython.locals(state=SpanState)
    cpdef put(
        self, record_id, started_ns, seconds, span, run_id, model, status, error_type, failure, features, prediction,
        subject
    )

cdef _simple(value)
cdef bint _is_simple(redactor, dict features)
