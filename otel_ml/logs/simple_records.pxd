cpdef object captured(dict fields)
cpdef object simple(made, level, level_name, name, message, tuple arguments, tuple ids, run_id, tuple code)
