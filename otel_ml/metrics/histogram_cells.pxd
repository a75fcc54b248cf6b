cimport cython

from otel_ml.primitives cimport bucket
from otel_ml.series cimport Observer
from otel_ml.tracing.span_state cimport SpanState

cdef double _INFINITY

cdef class HistogramCell(Observer):
    cdef public object attributes
    cdef public object _place
    cdef object _base, _exemplars
    cdef tuple _bounds
    cdef bint _keep
    cdef double _max, _min
    cdef object _start_ns
    cdef object _counts, _sums, _words

    @cython.locals(state=SpanState, index=Py_ssize_t)
    cpdef observe(self, double value, span, now=*)
