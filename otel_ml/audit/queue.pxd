cimport cython

cdef Py_ssize_t _LEAST

cdef class Lane:
    cdef public object items
    cdef public Py_ssize_t held, most_bytes, most_items
    cdef public bint watched

    cpdef bint put(self, item, Py_ssize_t size, ticket) except -1

    @cython.locals(size=Py_ssize_t)
    cpdef bint put_quietly(self, bytes body) except -1

    cpdef release(self, Py_ssize_t size)

cpdef Py_ssize_t size_of(bytes body)
