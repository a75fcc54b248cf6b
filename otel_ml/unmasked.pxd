cimport cython

from otel_ml.primitives cimport is_uuid

cdef object _RECORD_ID, current
cdef Unmasked _unmasked

cdef class Unmasked:
    cdef public object redactor
    cdef object _is_harmless
    cdef dict _known, _shared
    cdef set _unnamed
    cdef Py_ssize_t _number
    cdef bint _repeatable

    cpdef bint covers(self, items)
    @cython.locals(known=dict, texts=set)
    cpdef bint _covers_each(self, items)
    cpdef bint knows(self, text)

cpdef object masked_mapping(object items)
cpdef object masked_text(object text)
