cdef class Series:
    cdef public object attributes, bound_to, observe, proxy, add_rows, rows_bound_to
    cdef object _failures, _histogram
