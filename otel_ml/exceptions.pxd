from otel_ml.stack_text cimport render

cdef dict _NAMES
cdef object _new_tuple, _OWN_MODULES, current_redactor
cdef Py_ssize_t _TEXT_LIMIT

cpdef error_type(error)

cpdef bint is_cancellation(error) except -1

cpdef describe(error)

cpdef bint first_time(error) except -1

cdef _message(error)

cdef _remembered(error, message, redactor)

cdef _caller_frames(trace)

cdef _shorten(text)
