from otel_ml.current_span cimport get_context
from otel_ml.primitives cimport item

cdef object RUN_KEY, Run, inherited

cdef class RunAttributes:
    cdef object _on_run
    cdef set _known

    cpdef start(self, span, parent_context=*)
