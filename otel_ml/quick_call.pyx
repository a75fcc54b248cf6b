"""Calls of decorated functions without a frame of Python, a tuple and a dictionary of theirs.

A function of Python has a C function that calls it, which `PyFunction_SetVectorcall` replaces, as its documentation
has it, by one that does the same. The function stays what it is for everybody who looks at it, pickles it or copies
it. Interpreters before 3.12 do not ask for it.
"""

from cpython.object cimport PyObject

from otel_ml.instruments cimport Instruments
from otel_ml.operations cimport Operation, Spec
from otel_ml.predictions cimport PredictionSpec

from otel_ml.instruments import instruments as _instruments

cdef extern from *:
    """
    static PyObject *otel_ml_free_variable(PyObject *function, Py_ssize_t index) {
        PyObject *value = PyCell_GET(PyTuple_GET_ITEM(PyFunction_GET_CLOSURE(function), index));
        Py_INCREF(value);
        return value;
    }
    static PyObject *otel_ml_self(PyObject *method) {
        return Py_NewRef(PyMethod_GET_SELF(method));
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
    bint PyMethod_Check(object candidate)
    object otel_ml_self(object method)
    object otel_ml_free_variable(object function, Py_ssize_t index)
    tuple otel_ml_tuple(PyObject *const *args, Py_ssize_t number)
    void otel_ml_set_call(object function, void *call)
    object otel_ml_forward(object function, PyObject *const *args, size_t nargsf, PyObject *names)
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)

cdef Instruments instruments = _instruments
cdef dict NO_NAMES = {}  # nobody changes it: it is looked into, and taken apart for a call of the caller's function


cdef dict _named(PyObject *const *args, Py_ssize_t number, PyObject *names):
    if names is NULL:
        return NO_NAMES
    return {name: <object>args[number + index] for index, name in enumerate(<tuple>names)}


cdef Operation _started(object start, tuple args, dict kwargs):
    """Return what the bound method `start` of a spec returns."""
    spec = otel_ml_self(start) if PyMethod_Check(start) else None
    if type(spec) is Spec:
        return (<Spec>spec).start(args, kwargs)
    if type(spec) is PredictionSpec:
        return (<PredictionSpec>spec).start(args, kwargs)
    return start(args, kwargs)


cdef object _call(object wrapper, PyObject *const *args, size_t nargsf, PyObject *names):
    """Do what the body of `wrapper` in `wrappers._function` says."""
    cdef Py_ssize_t number
    cdef Operation operation
    function = otel_ml_free_variable(wrapper, 0)
    if not instruments.enabled:
        return otel_ml_forward(function, args, nargsf, names)
    number = PyVectorcall_NARGS(nargsf)
    operation = _started(otel_ml_free_variable(wrapper, 1), otel_ml_tuple(args, number), _named(args, number, names))
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
