from otel_ml.primitives cimport item

cdef class RecordFactory:
    cdef object _handler, _relayed, _loggers, _service, _previous, _below, _construct, _installed
    cdef tuple _last
    cdef bint _instruments, _active

    cpdef _inject(self, dict fields)
    cpdef bint _reaches_root(self, name)
