"""`simple_features.py` in C: where this is compiled, it is found first."""

cimport cython
from cpython.dict cimport PyDict_Next
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.set cimport PySet_Contains
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_CheckExact, PyUnicode_GET_LENGTH

MAY_BE_CARD = 10**14

cdef enum:
    MOST_KEYS = 256
    LONGEST = 4096

cdef long long CARD = 10**14


cpdef bint are_simple(dict features, redactor, set plain_names, tuple known) except -1:
    """See `simple_features.py`."""
    cdef Py_ssize_t position = 0, index = 0, most = 0 if known is None else len(known)
    cdef PyObject *key
    cdef PyObject *value
    if plain_names is None or len(features) > MOST_KEYS:
        return False
    with cython.critical_section(features):
        while PyDict_Next(features, &position, &key, &value):
            if index >= most or key != <PyObject *>PyTuple_GET_ITEM(known, index):
                if not PyUnicode_CheckExact(<object>key) or not PySet_Contains(plain_names, <object>key):
                    return False
            index += 1
            if not _is_simple(<object>value, redactor):
                return False
    return True


cdef bint _is_simple(object value, object redactor) except -1:
    cdef int overflow = 0
    cdef long long whole
    if PyFloat_CheckExact(value):
        return is_short(PyFloat_AS_DOUBLE(value))
    if PyLong_CheckExact(value):
        whole = PyLong_AsLongLongAndOverflow(value, &overflow)
        return not overflow and -CARD < whole < CARD
    if PyUnicode_CheckExact(value):
        return PyUnicode_GET_LENGTH(value) <= LONGEST and redactor.is_harmless(value)
    return value is None or value is True or value is False


cpdef bint is_short(double number):
    """See `simple_features.py`."""
    return number - number == 0.0 and number < CARD
