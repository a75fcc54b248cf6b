from otel_ml.logs.quick_line cimport quick_line

cdef object current_redactor

cdef class Places:
    cdef object _encoder
    cdef readonly tuple _now

    cpdef line(self, dict fields)
