cpdef bint are_simple(dict features, redactor, set plain_names, tuple known) except -1
cpdef bint is_short(double number)
