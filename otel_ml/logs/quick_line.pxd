cpdef object quick_line(dict fields, dict known, dict shapes)
cdef object line_of(
    double made, tuple parts, str text, arguments, str trace_id, str span_id, sampled, str run_id, dict shapes
)
