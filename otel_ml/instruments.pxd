cdef class SpanStarter:
    cdef public object span_class

    cpdef start(self, name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception)

cdef class Instruments:
    cdef public object audit_records, bound, estimator_duration, inference_duration, inference_rows, recorder, step_duration, tracer
    cdef public SpanStarter starter
    cdef public bint enabled
