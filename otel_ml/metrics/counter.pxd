cdef class CounterCell:
    cdef public object attributes, _place
    cdef object _base, _floats, _ints, _start_ns
    cdef bint _shared

    cpdef add(self, number)
