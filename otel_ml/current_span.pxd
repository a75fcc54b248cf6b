from otel_ml.primitives cimport derived, reset_variable, set_variable, variable_value

cdef object _variable

cpdef object get_context()
cpdef object attach(object span)
cpdef detach(object token)
cpdef make_current(context)
