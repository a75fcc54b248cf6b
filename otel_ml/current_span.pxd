from otel_ml.primitives cimport derived, reset_variable, set_variable

cdef object _variable

cpdef object attach(object span)
cpdef detach(object token)
cpdef make_current(context)
