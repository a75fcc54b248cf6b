from cpython.pythread cimport PyThread_type_lock

from otel_ml.audit.queue cimport Lane

cdef class Bell:
    cdef Lane _first, _second
    cdef PyThread_type_lock _lock
    cdef int _has_rung

    cdef bint _rung_within(self, double seconds) noexcept nogil
