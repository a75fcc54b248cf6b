cimport cython

from otel_ml.primitives cimport blank
from otel_ml.tracing.failure_items cimport error_status, only_event
from otel_ml.tracing.sdk_layout cimport span_context
from otel_ml.tracing.shared cimport SharedState

cdef object CleanAttributes, ERROR, EVENT, UNSET

cdef class SpanState:
    cdef public object _bounded, _end_time, _event_list, _kind, _link_list, _name, _parent, _record_end_metrics
    cdef public object _record_exception, _record_id, _set_status_on_exception, _slow_lock, _span_context, _span_id, _start_time
    cdef public object _status, _trace_flags, _trace_id, _trace_state
    cdef public object _values
    cdef public Py_ssize_t _dropped
    cdef public bint _sampled
    cdef public SharedState _shared

    cpdef get_span_context(self)

    @cython.locals(shared=SharedState)
    cpdef set_attribute(self, key, value)

    cpdef put_record_id(self, record_id)

    @cython.locals(shared=SharedState)
    cpdef put_failure(self, description, dict values)

    @cython.locals(shared=SharedState, new=dict)
    cpdef _put_all(self, attributes)

    cpdef _own_values(self)

    @cython.locals(shared=SharedState)
    cpdef end(self, end_time=*)

cdef bint is_atom(object value)

@cython.locals(span=SpanState)
cpdef SpanState begun(
    object kind_of_span, SharedState shared, object name, object kind, object trace_id, object span_id, object flags,
    object state, object parent, object record_exception, object set_status_on_exception
)
