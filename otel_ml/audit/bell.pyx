"""`bell.py` in C: where this is compiled, it is found first."""

from cpython.pythread cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock, WAIT_LOCK
)

from otel_ml.audit.queue cimport Lane

cdef extern from "Python.h":
    ctypedef enum PyLockStatus:
        PY_LOCK_ACQUIRED
    PyLockStatus PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int interrupted) nogil


cdef class Bell:
    """See `bell.py`."""

    def __cinit__(self, Lane first, Lane second):
        self._first, self._second = first, second
        self._lock = PyThread_allocate_lock()
        if self._lock == NULL:
            raise MemoryError
        PyThread_acquire_lock(self._lock, WAIT_LOCK)

    def __dealloc__(self):
        if self._lock != NULL:
            PyThread_free_lock(self._lock)

    def ring(self):
        """See `bell.py`."""
        if not self._has_rung:
            self._has_rung = 1
            PyThread_release_lock(self._lock)

    def wait(self, double seconds):
        """See `bell.py`."""
        cdef bint found
        with nogil:
            found = self._rung_within(seconds)
        return found

    def watch(self, double pause, double seconds):
        """See `bell.py`."""
        cdef double waited = 0.0
        with nogil:
            while not (self._rung_within(pause) or self._first.held or self._second.held):
                waited += pause
                if waited >= seconds:
                    break

    cdef bint _rung_within(self, double seconds) noexcept nogil:
        if PyThread_acquire_lock_timed(self._lock, <long long>(max(seconds, 0.0) * 1e6), 0) != PY_LOCK_ACQUIRED:
            return False
        self._has_rung = 0
        return True
