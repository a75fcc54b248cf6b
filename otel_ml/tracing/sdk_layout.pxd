cdef object _new_tuple

cpdef span_context(trace_id, span_id, flags, state)
