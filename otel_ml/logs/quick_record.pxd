cimport cython

cdef object _ATOMS, _current_thread, _level_name, _main_thread, _new, _pid, _record_class, Thread
cdef bint _BY_NANOSECONDS
cdef dict _files, _modules, _names, _switches, _threading

cpdef filled(dict fields, name, level, pathname, lineno, msg, args, exc_info, func, sinfo)

cdef _thread_name(ident)

@cython.locals(seconds=double)
cdef tuple _times()
