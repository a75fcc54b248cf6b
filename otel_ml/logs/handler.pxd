from otel_ml.logs.places cimport Places
from otel_ml.logs.simple_records cimport captured

cdef object _EXPORTERS, get_ident, is_instrumentation_enabled
cdef set exporting_threads

cdef _taken(dict fields, Places places)
cdef bint _is_internal(name) except -1
