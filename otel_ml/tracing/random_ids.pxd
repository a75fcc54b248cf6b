from libc.stdint cimport int64_t

cpdef object trace_id()
cpdef object span_id()
cpdef object uuid7(int64_t time_ns)
