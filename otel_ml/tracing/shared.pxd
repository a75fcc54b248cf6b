cdef class SharedState:
    cdef public object info, known, limits, max_length, processor, resource, sampler, scope, switch, watched
    cdef public Py_ssize_t max_attributes, room_for_clean, room_in_event
