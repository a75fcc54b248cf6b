from libc.stdint cimport int64_t, uint64_t

cpdef object trace_id()
cpdef object span_id()
cpdef object uuid7(int64_t time_ns)
cdef int draw_ids(uint64_t *high, uint64_t *low, uint64_t *span) except -1
cdef void put_hex(char *to, uint64_t number) noexcept nogil
