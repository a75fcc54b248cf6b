cdef class Instruments:
    cdef public object bound, inference_duration, inference_rows, starter, step_duration, tracer
    cdef public bint enabled
