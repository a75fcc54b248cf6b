"""The short way of an ordinary log line: from `Logger._log` to the queue, without a record.

Standard logging walks the stack in Python, makes a record of some 25 fields and passes it from logger to logger; then
our handler takes ten of the fields. Where nobody but our handler would see that record, what it queues can be made at
once. `ShortWay.took` lists what that depends on. Whatever is unusual goes the general way, as if there was no other.
"""

import logging
import os
import time
from types import FunctionType

from cpython.dict cimport PyDict_GetItemWithError, PyDict_Size
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from otel_ml.current_span cimport get_context
from otel_ml.logs.handler cimport _is_internal
from otel_ml.logs.places cimport Places
from otel_ml.logs.quick_line cimport line_of
from otel_ml.logs.quick_record cimport _BY_NANOSECONDS
from otel_ml.logs.records cimport RecordFactory, _run_in
from otel_ml.logs.simple_records cimport simple

from otel_ml import patches
from otel_ml.redaction import current as current_redactor

cdef extern from *:
    """
    /* What `Logger.findCaller` finds: the innermost frame that is not of logging's own file. None: there is none. */
    static PyObject *otel_ml_caller(PyObject *own_file) {
        PyFrameObject *frame = PyEval_GetFrame();
        PyObject *place = NULL;
        Py_XINCREF(frame);
        while (frame != NULL) {
            PyFrameObject *outer;
            PyCodeObject *code = PyFrame_GetCode(frame);
            int is_own = code->co_filename == own_file ? 1 : PyObject_RichCompareBool(code->co_filename, own_file, Py_EQ);
            int number = is_own ? 0 : PyFrame_GetLineNumber(frame);
            if (is_own == 0 && number >= 0) {
                PyObject *line = PyLong_FromLong(number);
                if (line != NULL) {
                    place = PyTuple_Pack(3, code->co_filename, code->co_name, line);
                    Py_DECREF(line);
                }
            }
            outer = is_own == 1 ? PyFrame_GetBack(frame) : NULL;
            Py_DECREF(code);
            Py_DECREF(frame);
            frame = outer;
        }
        if (place == NULL && !PyErr_Occurred()) place = Py_NewRef(Py_None);
        return place;
    }
    static CYTHON_INLINE PyObject *otel_ml_on_class(PyObject *instance, PyObject *name) {
        return _PyType_Lookup(Py_TYPE(instance), name);
    }
    """
    object otel_ml_caller(object own_file)
    PyObject *otel_ml_on_class(object instance, object name)
    object PyObject_GenericGetDict(object instance, void *context)

cdef dict _switches = vars(logging), _level_names = logging._levelToName
cdef object Logger = logging.Logger, RootLogger = logging.RootLogger, NullHandler = logging.NullHandler
cdef object _do_nothing_with = NullHandler.handle
cdef object _own_file = logging.addLevelName.__code__.co_filename

# What standard logging does between `_log` and our handler, and where it is looked up. None: a version has it not.
cdef tuple _methods = tuple(
    (name, getattr(Logger, name, None))
    for name in ("findCaller", "makeRecord", "handle", "callHandlers", "filter", "_is_disabled")
)
cdef tuple _functions = tuple((name, _switches.get(name)) for name in ("_is_internal_frame", "currentframe"))
cdef object _busy = getattr(Logger, "_tls", None)  # from Python 3.13 on: whether this thread is in a handler
cdef Py_ssize_t _PLAIN = len(vars(Logger("plain"))) + 1  # the manager gives it another one


cdef class ShortWay:
    """Takes what may go it.

    Args:
        factory: Must be the record factory in force.
        handler: The one on the root logger.
    """

    cdef RecordFactory _factory
    cdef object _handler
    cdef dict _of_handler
    cdef Places _places

    def __init__(self, RecordFactory factory, handler):
        self._factory, self._handler, self._of_handler, self._places = factory, handler, vars(handler), handler._places

    cdef bint took(self, logger, level, message, arguments) except -1:
        """Queue what waits of a record that nobody else would see; False when it has to go the general way."""
        cdef dict fields
        if not self._factory._active or _switches["_logRecordFactory"] is not self._factory._installed:
            return False
        if type(logger) is not Logger or type(level) is not int:
            return False
        if type(message) is not str or type(arguments) is not tuple:
            return False
        fields = PyObject_GenericGetDict(logger, NULL)
        if not _is_untouched(logger, fields) or not self._is_alone(fields, level):
            return False
        name = fields["name"]
        if type(name) is not str or _is_internal(name):
            return False
        item = self._item(name, level, message, arguments)
        if item is None:
            return False
        self._of_handler["_put"](item)
        return True

    cdef bint _is_alone(self, dict fields, level) except -1:
        """Whether our handler, and no other, gets what a logger passes on, and no filter is asked."""
        cdef list handlers
        cdef dict ours = self._of_handler
        if fields["disabled"] or fields["filters"] or ours["filters"] or not level >= ours["level"] or "handle" in ours:
            return False
        while True:
            handlers, parent = fields["handlers"], fields["parent"]
            if parent is None:
                return len(handlers) == 1 and handlers[0] is self._handler
            if handlers and not _do_nothing(handlers):
                return False
            if not fields["propagate"] or not (type(parent) is Logger or type(parent) is RootLogger):
                return False
            fields = PyObject_GenericGetDict(parent, NULL)

    cdef object _item(self, str name, level, str message, tuple arguments):
        """Return what waits of a record, as `handler._taken` does: its line, or what the listener makes one of."""
        cdef double made
        cdef tuple ids
        level_name, place, context = _level_names.get(level), otel_ml_caller(_own_file), get_context()
        run = _run_in(context)
        if place is None or type(level_name) is not str or (run is not None and run.labels):  # labels are extra
            return None
        run_id = "" if run is None else run.id
        ids = self._factory._ids_in(context)
        made = <int64_t>time.time_ns() / 1e9 if _BY_NANOSECONDS else time.time()
        line = self._line(made, (level_name, name, place), message, arguments, ids, run_id)
        if line is not None:
            return line
        if "importlib" in place[0] and "_bootstrap" in place[0]:  # no caller for logging, which looks further
            return None
        return simple(made, level, level_name, name, message, arguments, ids, run_id, place)

    cdef bytes _line(self, double made, tuple place, str message, tuple arguments, tuple ids, str run_id):
        cdef PyObject *found
        cdef tuple now
        if self._places is None:
            return None
        now = self._places._now
        if now[0] is not current_redactor():
            return None
        found = PyDict_GetItemWithError(now[1], place)
        if found is NULL:
            return None
        parts = <object>found  # what is known stays: it is only ever added to
        return line_of(made, parts, message, arguments, ids[1], ids[2], ids[3], run_id, now[2])


cdef bint _is_untouched(logger, dict fields) except -1:
    """Whether a logger does what standard logging's do, and nobody changed how."""
    cdef PyObject *found
    cdef bint is_plain = PyDict_Size(fields) == _PLAIN and "manager" in fields
    for name, method in _methods:
        found = otel_ml_on_class(logger, name)
        if found != (NULL if method is None else <PyObject *>method) or (not is_plain and name in fields):
            return False
    for name, function in _functions:
        if _switches[name] is not function:
            return False
    return _switches["_srcfile"] is _own_file and not (_busy is not None and getattr(_busy, "in_progress", False))


cdef bint _do_nothing(list handlers) except -1:
    if NullHandler.handle is not _do_nothing_with:
        return False
    for handler in handlers:
        if type(handler) is not NullHandler or "handle" in vars(handler):
            return False
    return True


cdef bint _is_known():
    """Whether logging is as we know it, and the caller is found where it finds it: what calls `open_up`."""
    try:
        for function in [Logger._log, *(method for _, method in (*_methods, *_functions) if method is not None)]:
            if type(function) is not FunctionType or function.__code__.co_filename != _own_file:
                return False
        file, line, name = logging.root.findCaller()[:3]
        return os.name == "posix" and otel_ml_caller(_own_file) == (file, name, line)
    except Exception:  # somebody's own
        return False


def open_up(factory, handler):
    """Let ordinary lines take the short way, until the function that this returns is called; see `short_way.py`."""
    cdef ShortWay way
    if not (<RecordFactory>factory)._is_quick or not _is_known():
        return lambda: None
    way = ShortWay(factory, handler)

    def around(original):
        def _log(logger, level, msg, args, *more, **options):
            try:
                if not more and not options and way.took(logger, level, msg, args):
                    return
            except Exception:  # the general way says what is wrong
                pass
            original(logger, level, msg, args, *more, **options)

        return _log

    return patches.replace([Logger], "_log", around)
