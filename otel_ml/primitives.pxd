from libc.stdint cimport int64_t

cpdef Py_ssize_t bucket(tuple bounds, double value)
cpdef object blank(object kind)
cpdef object item(object mapping, object key)
cpdef tuple plain_tuple(object items)
cpdef object derived(object context, object key, object value)
cpdef put(object context, object key, object value)
cpdef object bound(object function, object instance)
cpdef bint is_uuid(str text) except -1
cpdef str hex_digits(object number, Py_ssize_t size)
cpdef untrack(item)
cpdef track(item)
cpdef int64_t wall_ns() except? -1
cpdef double ticks() except? -1
cpdef int64_t nanoseconds(double seconds) except? -1
cpdef object variable_value(object variable)
cpdef object set_variable(object variable, object value)
cpdef reset_variable(object variable, object token)
