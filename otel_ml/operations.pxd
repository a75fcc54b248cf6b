cimport cython
from libc.stdint cimport int64_t

from otel_ml.current_span cimport detach, get_context, make_current
from otel_ml.exceptions cimport describe, error_type, first_time, is_cancellation
from otel_ml.instruments cimport Instruments, SpanStarter
from otel_ml.primitives cimport derived, nanoseconds, ticks, wall_ns
from otel_ml.series cimport Observer, Series

cdef Instruments instruments
cdef object INTERNAL, INVALID_SPAN, SPAN_KEY, _ERROR, _ERROR_TYPE, _FAILED, _LOG_LEVEL, _OK
cdef tuple _EVENT_KEYS

cdef class Spec:
    cdef public object attributes, code, histogram, logger, metric_attributes, span_name
    cdef public Series series

    @cython.locals(operation=Operation)
    cpdef start(self, tuple args, dict kwargs)

cdef class Operation:
    cdef public object span
    cdef object _attributes, _context, _ended_ns, _error_type, _failure, _status, _token
    cdef Py_ssize_t _items
    cdef int64_t _started_ns
    cdef Series _series
    cdef Spec _spec
    cdef double _started

    @cython.locals(starter=SpanStarter)
    cpdef begin(self, Spec spec, attributes, Series series)

    cpdef stop(self, result)

    @cython.locals(observer=Observer)
    cpdef _observe(self, Series series, double seconds)

    cpdef _end_span(self)

    cpdef _record(self, error)

cdef _put_on_span(span, kind, message, stacktrace)
