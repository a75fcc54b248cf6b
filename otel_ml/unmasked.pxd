cdef class Unmasked:
    cdef public object redactor
    cdef set _known
    cdef dict _shared

    cpdef bint covers(self, items)
    cpdef bint _covers_each(self, items)
    cpdef bint knows(self, text)

cpdef object masked_mapping(object items)
cpdef object masked_text(object text)
