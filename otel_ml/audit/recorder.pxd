cimport cython
from libc.stdint cimport int64_t

from otel_ml.audit.queue cimport Lane
from otel_ml.audit.quick_line cimport quick_line
from otel_ml.audit.simple_features cimport are_simple, is_short
from otel_ml.instruments cimport Instruments
from otel_ml.predictions cimport CallRecorder, Prediction, PredictionSpec
from otel_ml.primitives cimport item, wall_ns
from otel_ml.tracing.random_ids cimport uuid7
from otel_ml.tracing.span_state cimport SpanState

cdef object Batch, MAY_BE_CARD, _OK, _OF_REDACTION, dumps
cdef Instruments instruments

cdef class Recorder(CallRecorder):
    cdef object _counts, _encoder, _max_rows, _pseudonym, _writer
    cdef bytes _mask
    cdef tuple _last, _names
    cdef bint _waits

    cpdef begin(self, Prediction call)

    @cython.locals(state=SpanState, lane=Lane, last=tuple, started_ns=int64_t, ended_ns=int64_t, flags=cython.int, same_run=bint)
    cpdef put(self, Prediction call, run_id)

    cdef _put(self, Prediction call, run_id, int64_t started_ns, double seconds, trace_id, span_id, flags)

    @cython.locals(names=tuple, known=tuple)
    cdef _simple(self, value, PredictionSpec spec)

    cdef _as_json(self, value)

cdef _learn_names(PredictionSpec spec, tuple judged, features)
