cpdef object captured(dict fields)
