cpdef object quick_line(dict fields, dict known, dict shapes)
