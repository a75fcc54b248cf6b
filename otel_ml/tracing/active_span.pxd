from otel_ml.current_span cimport attach, detach

cdef class ActiveSpan:
    cdef object _attributes, _context, _end_on_exit, _kind, _links, _name, _record_exception
    cdef object _set_status_on_exception, _span, _start_time, _token, _tracer
