cdef class Inbox:
    cdef public object append, queue
    cdef public Py_ssize_t quiet

    cpdef bint put(self, item) except -1
