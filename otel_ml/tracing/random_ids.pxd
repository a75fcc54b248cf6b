cpdef object trace_id()
cpdef object span_id()
cpdef object uuid7(object milliseconds)
