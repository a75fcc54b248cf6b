"""Calls of decorated functions without a frame of Python, a tuple and a dictionary of theirs.

A function of Python has a C function that calls it, which `PyFunction_SetVectorcall` replaces, as its documentation
has it, by one that does the same. The function stays what it is for everybody who looks at it, pickles it or copies
it. Interpreters before 3.12 do not ask for it.
"""

from cpython.object cimport PyObject

from otel_ml.instruments cimport Instruments

from otel_ml.instruments import instruments as _instruments

cdef extern from *:
    """
    static PyObject *otel_ml_free_variable(PyObject *function, Py_ssize_t index) {
        PyObject *value = PyCell_GET(PyTuple_GET_ITEM(PyFunction_GET_CLOSURE(function), index));
        Py_INCREF(value);
        return value;
    }
    static PyObject *otel_ml_tuple(PyObject *const *args, Py_ssize_t number) {
        PyObject *tuple = PyTuple_New(number);
        for (Py_ssize_t index = 0; tuple != NULL && index < number; index++) {
            PyTuple_SET_ITEM(tuple, index, Py_NewRef(args[index]));
        }
        return tuple;
    }
    static void otel_ml_set_call(PyObject *function, void *call) {
    #if PY_VERSION_HEX >= 0x030C0000
        PyFunction_SetVectorcall((PyFunctionObject *)function, (vectorcallfunc)call);
    #endif
    }
    static PyObject *otel_ml_forward(PyObject *function, PyObject *const *args, size_t nargsf, PyObject *names) {
        return PyObject_Vectorcall(function, args, nargsf, names);
    }
    """
    object otel_ml_free_variable(object function, Py_ssize_t index)
    tuple otel_ml_tuple(PyObject *const *args, Py_ssize_t number)
    void otel_ml_set_call(object function, void *call)
    object otel_ml_forward(object function, PyObject *const *args, size_t nargsf, PyObject *names)
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)

cdef Instruments instruments = _instruments


cdef dict _named(PyObject *const *args, Py_ssize_t number, PyObject *names):
    if names is NULL:
        return {}
    return {name: <object>args[number + index] for index, name in enumerate(<tuple>names)}


cdef object _call(object wrapper, PyObject *const *args, size_t nargsf, PyObject *names):
    """Do what the body of `wrapper` in `wrappers._function` says."""
    cdef Py_ssize_t number
    function = otel_ml_free_variable(wrapper, 0)
    if not instruments.enabled:
        return otel_ml_forward(function, args, nargsf, names)
    number = PyVectorcall_NARGS(nargsf)
    operation = otel_ml_free_variable(wrapper, 1)(otel_ml_tuple(args, number), _named(args, number, names))
    try:
        result = otel_ml_forward(function, args, number, names)
    except BaseException as error:
        operation.fail(error)
        raise
    operation.stop(result)
    return result


cpdef quicken(wrapper):
    """Have a wrapper of `wrappers._function` called in C, if the interpreter can; it stays the function that it is."""
    if wrapper.__code__.co_freevars == ("function", "start"):
        otel_ml_set_call(wrapper, <void *>_call)
