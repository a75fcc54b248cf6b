"""`primitives.py` in C: where this is compiled, it is found first."""

from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem, PyDict_Update
from cpython.exc cimport PyErr_Occurred
from cpython.object cimport PyObject

cdef extern from *:
    """
    static CYTHON_INLINE PyObject *otel_ml_blank(PyObject *kind, PyObject *no_arguments) {
        return ((PyTypeObject *)kind)->tp_new((PyTypeObject *)kind, no_arguments, NULL);
    }
    static CYTHON_INLINE PyObject *otel_ml_blank_like(PyObject *other, PyObject *no_arguments) {
        return Py_TYPE(other)->tp_new(Py_TYPE(other), no_arguments, NULL);
    }
    """
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


cpdef object derived(object context, object key, object value):
    """Return a context that has one value more."""
    made = otel_ml_blank_like(context, ())
    PyDict_Update(made, context)
    PyDict_SetItem(made, key, value)
    return made
