cimport cython

cdef class _Places:
    cdef readonly object redactor
    cdef readonly dict texts

    @cython.locals(place=tuple, known=tuple)
    cdef text_of(self, trace, code, line)

cpdef render(error, message, trace, redactor, Py_ssize_t limit)

@cython.locals(places=_Places, frames=list)
cdef _frames(trace, redactor, Py_ssize_t limit)

cdef bint _is_like(code, other) except -1
