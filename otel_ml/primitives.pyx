"""`primitives.py` in C: where this is compiled, it is found first."""

from libc.stdint cimport int64_t

from cpython.contextvars cimport PyContextVar_Reset, PyContextVar_Set, get_value
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem, PyDict_Update
from cpython.exc cimport PyErr_Occurred
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_SIZE, PyTuple_GetSlice

cdef extern from *:
    """
    static CYTHON_INLINE PyObject *otel_ml_blank(PyObject *kind, PyObject *no_arguments) {
        return ((PyTypeObject *)kind)->tp_new((PyTypeObject *)kind, no_arguments, NULL);
    }
    static CYTHON_INLINE PyObject *otel_ml_blank_like(PyObject *other, PyObject *no_arguments) {
        return Py_TYPE(other)->tp_new(Py_TYPE(other), no_arguments, NULL);
    }
    #if PY_VERSION_HEX >= 0x030D0000
    typedef PyTime_t otel_ml_time;
    #define otel_ml_wall PyTime_Time
    #define otel_ml_ticks PyTime_PerfCounter
    #else
    typedef _PyTime_t otel_ml_time;
    static CYTHON_INLINE int otel_ml_wall(otel_ml_time *now) {
        *now = _PyTime_GetSystemClock();
        return 0;
    }
    static CYTHON_INLINE int otel_ml_ticks(otel_ml_time *now) {
        *now = _PyTime_GetPerfCounter();
        return 0;
    }
    #endif
    static CYTHON_INLINE void otel_ml_untrack(PyObject *item) {
        if (PyObject_IS_GC(item)) PyObject_GC_UnTrack(item);
    }
    static CYTHON_INLINE void otel_ml_track(PyObject *item) {
        if (PyObject_IS_GC(item) && !PyObject_GC_IsTracked(item)) PyObject_GC_Track(item);
    }
    static PyObject *otel_ml_hex_digits(PyObject *number, Py_ssize_t size) {
        static const char digits[] = "0123456789abcdef";
        unsigned char bytes[16];
        PyObject *text;
        char *to;
        if (size > 16 || !PyLong_Check(number)) {
            PyErr_SetString(PyExc_TypeError, "expected a number of at most 16 bytes");
            return NULL;
        }
    #if PY_VERSION_HEX >= 0x030D0000
        Py_ssize_t needed = PyLong_AsNativeBytes(
            number, bytes, size, Py_ASNATIVEBYTES_BIG_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER | Py_ASNATIVEBYTES_REJECT_NEGATIVE
        );
        if (needed < 0) return NULL;
        if (needed > size) {
            PyErr_SetString(PyExc_OverflowError, "int too big to convert");
            return NULL;
        }
    #else
        if (_PyLong_AsByteArray((PyLongObject *)number, bytes, (size_t)size, 0, 0) < 0) return NULL;
    #endif
        text = PyUnicode_New(2 * size, 127);
        if (text == NULL) return NULL;
        to = (char *)PyUnicode_DATA(text);
        for (Py_ssize_t i = 0; i < size; i++) {
            *to++ = digits[bytes[i] >> 4];
            *to++ = digits[bytes[i] & 15];
        }
        return text;
    }
    static CYTHON_INLINE int otel_ml_is_uuid(PyObject *text) {
        if (!PyUnicode_IS_COMPACT_ASCII(text) || PyUnicode_GET_LENGTH(text) != 36) return 0;
        const char *at = (const char *)PyUnicode_DATA(text);
        for (int i = 0; i < 36; i++) {
            char c = at[i];
            if (i == 8 || i == 13 || i == 18 || i == 23) {
                if (c != '-') return 0;
            } else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
                return 0;
            }
        }
        return 1;
    }
    """
    ctypedef int64_t otel_ml_time
    int otel_ml_wall(otel_ml_time *now) except -1
    int otel_ml_ticks(otel_ml_time *now) except -1
    void otel_ml_untrack(object item) noexcept
    void otel_ml_track(object item) noexcept
    bint otel_ml_is_uuid(object text) noexcept
    object otel_ml_hex_digits(object number, Py_ssize_t size)
    object otel_ml_bound "PyMethod_New"(object function, object instance)
    object otel_ml_blank(object kind, object no_arguments)
    object otel_ml_blank_like(object other, object no_arguments)


cpdef object blank(object kind):
    """Return an object of a class, whose constructor is not called."""
    return otel_ml_blank(kind, ())


cpdef object item(object mapping, object key):
    """Return what a dictionary has under a key, or None."""
    cdef PyObject *found
    if not isinstance(mapping, dict):
        return mapping.get(key)
    found = PyDict_GetItemWithError(mapping, key)
    if found is not NULL:
        return <object>found
    if PyErr_Occurred() is not NULL:
        raise
    return None


cpdef Py_ssize_t bucket(tuple bounds, double value):
    """Return the index of the first of some rising numbers that is not below a number."""
    cdef Py_ssize_t low = 0, middle, high = len(bounds)
    while low < high:
        middle = (low + high) >> 1
        if <double>bounds[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


cpdef tuple plain_tuple(object items):
    """Return the items of a tuple, which may be one of a sub-class, as a tuple."""
    return PyTuple_GetSlice(items, 0, PyTuple_GET_SIZE(items)) if isinstance(items, tuple) else tuple(items)


cpdef object derived(object context, object key, object value):
    """Return a context that has one value more."""
    made = otel_ml_blank_like(context, ())
    PyDict_Update(made, context)
    PyDict_SetItem(made, key, value)
    return made


cpdef put(object context, object key, object value):
    """Change a context that nobody has seen yet."""
    PyDict_SetItem(context, key, value)


cpdef object bound(object function, object instance):
    """Return a method: a function with its first argument."""
    return otel_ml_bound(function, instance)


cpdef bint is_uuid(str text) except -1:
    """Whether a text is a UUID as we write it: it needs no masking, and is another one each time."""
    return text is not None and otel_ml_is_uuid(text)


cpdef str hex_digits(object number, Py_ssize_t size):
    """Return a number of so many bytes as hexadecimal digits."""
    return otel_ml_hex_digits(number, size)


cpdef untrack(item):
    """Take an object that waits in a queue of ours out of the garbage collector's sight.

    A collection looks at everything that was made lately and is still there, which with telemetry is what waits.
    """
    otel_ml_untrack(item)


cpdef track(item):
    """Undo `untrack`."""
    otel_ml_track(item)


cpdef int64_t wall_ns() except? -1:
    """Return nanoseconds since the epoch."""
    cdef otel_ml_time now
    otel_ml_wall(&now)
    return now


cpdef double ticks() except? -1:
    """Return seconds since some moment, by a clock that is never set."""
    cdef otel_ml_time now
    otel_ml_ticks(&now)
    return now * 1e-9


cpdef int64_t nanoseconds(double seconds) except? -1:
    """Return seconds as whole nanoseconds."""
    return <int64_t>(seconds * 1e9)


cpdef object variable_value(object variable):
    """Return the value of a context variable that has a default."""
    return get_value(variable)


cpdef object set_variable(object variable, object value):
    """Give a context variable a value; return the token that undoes it."""
    return PyContextVar_Set(variable, value)


cpdef reset_variable(object variable, object token):
    """Undo `set_variable`."""
    PyContextVar_Reset(variable, token)
