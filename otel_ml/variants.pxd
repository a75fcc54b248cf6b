from otel_ml.series cimport Series

cdef class Variant:
    cdef public object attributes
    cdef public tuple shaped
    cdef public Series series
