cdef class Instruments:
    cdef public object audit_records, bound, inference_duration, inference_rows, recorder, starter, step_duration, tracer
    cdef public bint enabled
