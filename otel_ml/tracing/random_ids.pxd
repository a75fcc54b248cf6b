cpdef object trace_id()
cpdef object span_id()
