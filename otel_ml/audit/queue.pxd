cdef class Lane:
    cdef public object items, most_items
    cdef public Py_ssize_t held, most_bytes

    cpdef bint put(self, item, Py_ssize_t size, ticket) except -1
