cimport cython

from otel_ml.inbox cimport Inbox
from otel_ml.primitives cimport untrack
from otel_ml.tracing.span_state cimport SpanState

cdef class Emitter:
    cdef Inbox _inbox

    @cython.locals(inbox=Inbox, state=SpanState)
    cpdef emit(self, span)
