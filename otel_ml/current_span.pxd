from otel_ml.primitives cimport derived

cpdef object attach(object span)
cpdef detach(object token)
