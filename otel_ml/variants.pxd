from otel_ml.series cimport Series

cdef class Variant:
    cdef public object attributes, model
    cdef public tuple shaped
    cdef public Series series
