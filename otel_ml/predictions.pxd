cimport cython

from otel_ml.capture cimport rows_and_columns
from otel_ml.current_span cimport get_context
from otel_ml.instruments cimport Instruments
from otel_ml.operations cimport Operation, Spec
from otel_ml.primitives cimport item
from otel_ml.series cimport Series
from otel_ml.variants cimport Variant

cdef Instruments instruments
cdef object RUN_KEY, _OUTPUT_ROWS, _RECORD_ID, inherited

cdef class CallRecorder

cdef class Prediction(Operation)

cdef class PredictionSpec:
    cdef public Spec base
    cdef public bint audited
    cdef public object feature_version, features, names, prediction, subject, variants, version
    cdef public Variant fixed
    cdef public Py_ssize_t position

    @cython.locals(call=Prediction, recorder=CallRecorder, variant=Variant, position=Py_ssize_t)
    cpdef start(self, tuple args, dict kwargs)

    @cython.locals(shaped=tuple, series=Series)
    cpdef _shaped(self, Variant variant, features)

cdef class CallRecorder:
    cpdef begin(self, Prediction call)

    cpdef put(self, Prediction call, run_id)

cdef class Prediction(Operation):
    cdef PredictionSpec _call_spec
    cdef Variant _variant
    cdef object _captured, _features, _prediction, _record_id, _subject
    cdef CallRecorder _recorder

    cpdef begin_on_record(self, CallRecorder recorder, attributes, tuple args, dict kwargs)

    @cython.locals(variant=Variant)
    cpdef _put_on_record(self, CallRecorder recorder)

    @cython.locals(recorder=CallRecorder)
    cpdef _end_span(self)
