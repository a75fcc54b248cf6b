cdef class Observer:
    cpdef observe(self, double value, span, now=*)

cdef class _ByApi(Observer):
    cdef object _attributes, _histogram

cdef class Series:
    cdef public object attributes, bound_to, proxy, add_rows, rows_bound_to
    cdef public Observer observer
    cdef object _failures, _histogram
