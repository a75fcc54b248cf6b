cimport cython

from otel_ml.audit.queue cimport Lane, size_of

cdef object Batch

cdef class Feed:
    cdef Lane _lane
    cdef object _encoder, _gap, _rows
    cdef tuple _batch
    cdef public list bodies, tickets

    @cython.locals(room=Py_ssize_t, released=Py_ssize_t, bodies=list)
    cpdef bint fill(self) except -1
