cdef class Instruments:
    cdef public object audit_records, bound, estimator_duration, inference_duration, inference_rows, recorder, starter, step_duration
    cdef public object tracer
    cdef public bint enabled
