from libc.stdint cimport uint64_t

cdef class UnsampledState:
    cdef uint64_t _high, _low, _number
    cdef public object _span_context, _trace_flags, _trace_state

cpdef draw(UnsampledState state, flags)
cpdef follow(UnsampledState state, trace_id, span_id, flags, trace_state)
cpdef bint is_below(UnsampledState state, bound) except -1
