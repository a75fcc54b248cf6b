from libc.stdint cimport int64_t

cpdef object quick_line(
    str record_id, int64_t started_ns, int64_t duration_ns, object trace_id, object span_id, int flags, bytes middle,
    bytes features, bytes prediction, bytes mask
)
