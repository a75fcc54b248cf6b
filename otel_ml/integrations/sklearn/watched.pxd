cimport cython

from otel_ml.instruments cimport Instruments
from otel_ml.integrations.sklearn.calls cimport Call, begin
from otel_ml.primitives cimport bound

cdef object FunctionType, MethodType
cdef Instruments instruments

cdef class WatchedFunction:
    cdef dict __dict__
    cdef public object function
    cdef object _method

cdef class WatchedMethod:
    cdef dict __dict__
    cdef public object original
    cdef dict _known
    cdef WatchedFunction _plain

    cdef _watched(self, function)
