from otel_ml.primitives cimport blank

cdef object BoundedAttributes, BoundedList, Event, Status, allocate_lock, deque, time_ns

cpdef error_status(description)

cpdef only_event(limits, dict values)
