cdef class CounterCell:
    cdef public object attributes
    cdef object _base, _floats, _ints, _place, _start_ns
    cdef bint _shared

    cpdef add(self, number)
