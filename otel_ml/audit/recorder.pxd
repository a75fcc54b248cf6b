cimport cython

from otel_ml.audit.queue cimport Lane
from otel_ml.audit.quick_line cimport quick_line
from otel_ml.audit.simple_features cimport are_simple, is_short
from otel_ml.instruments cimport Instruments
from otel_ml.tracing.random_ids cimport uuid7
from otel_ml.tracing.span_state cimport SpanState

cdef object Batch, MAY_BE_CARD, _OK, current_redactor, dumps
cdef Instruments instruments

cdef class Recorder:
    cdef object _counts, _encoder, _max_rows, _pseudonym, _writer
    cdef bytes _mask
    cdef tuple _last, _names
    cdef bint _waits

    cpdef record_id(self)

    cpdef captured(self, features)

    @cython.locals(state=SpanState, lane=Lane, last=tuple)
    cpdef put(
        self, record_id, started_ns, duration_ns, span, run_id, model, status, error_type, failure, features,
        prediction, subject
    )

    @cython.locals(names=tuple)
    cdef _simple(self, value)
    cdef _as_json(self, value)
