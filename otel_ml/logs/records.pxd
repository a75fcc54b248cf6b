cimport cython

from otel_ml.current_span cimport get_context
from otel_ml.logs.quick_record cimport filled
from otel_ml.primitives cimport hex_digits, item
from otel_ml.tracing.span_state cimport SpanState

cdef object RUN_KEY, Run, SPAN_KEY
cdef Py_ssize_t _POSITIONAL

cdef class RecordFactory:
    cdef object _handler, _relayed, _service, _previous, _construct, _unregister, _installed
    cdef dict _fields, _loggers
    cdef tuple _last
    cdef bint _active, _is_quick

    cdef _inject(self, dict fields, bint has_room)

    @cython.locals(last=tuple)
    cdef tuple _ids_in(self, context)
    cdef bint _reaches_root(self, name) except -1

cdef _run_in(context)

@cython.locals(state=SpanState)
cdef tuple _ids_of(span)
