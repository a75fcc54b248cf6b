cimport cython

from otel_ml.capture cimport rows_and_columns
from otel_ml.current_span cimport get_context
from otel_ml.instruments cimport Instruments
from otel_ml.integrations.sklearn.step_names cimport name_of
from otel_ml.operations cimport Operation, Spec
from otel_ml.primitives cimport item, put

cdef object CALL_KEY, Context, recognised
cdef dict _subjects
cdef Py_ssize_t _MOST_CALLS
cdef Instruments instruments

cdef class Subject:
    cdef public object kind, method
    cdef public Spec spec
    cdef public bint is_fit
    cdef dict _known, _worth
    cdef tuple _last

    cdef bint is_worth_span(self, inside) except -1

    @cython.locals(last=tuple)
    cdef attributes(self, step, data)

    cdef plain(self, step, described)

cdef class Call:
    cdef object __weakref__
    cdef public object estimator, kind, progress
    cdef public Py_ssize_t children, hidden
    cdef public bint in_workers
    cdef Call _outer
    cdef Operation _operation
    cdef Subject _subject

    cpdef stop(self, result)

    @cython.locals(operation=Operation)
    cdef _begin(self, Subject subject, Call outer, context, tuple data)

    cdef _begin_fit(self, tuple data)

    cdef _describe(self, result)

    cdef _leave(self)

@cython.locals(outer=Call, subject=Subject, call=Call)
cpdef Call begin(estimator, method, tuple args, dict kwargs)
