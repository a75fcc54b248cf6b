"""`sealing.py` in C: where this is compiled, it is found first."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from "sha256.h":
    ctypedef struct sha256_begun:
        pass
    void sha256_begin(sha256_begun *message, const unsigned char *data, size_t size) noexcept nogil
    void sha256_one(sha256_begun *message, size_t done, int portable) noexcept nogil
    void sha256_both(sha256_begun *one, sha256_begun *other, int portable) noexcept nogil
    void sha256_end(
        sha256_begun *message, const unsigned char *after, unsigned char *digest, int portable
    ) noexcept nogil

cdef extern from *:
    """
    #ifdef _WIN32
    #include <io.h>
    #define otel_ml_write(descriptor, data, size) _write(descriptor, data, (unsigned)((size) < 0x7fffffff ? (size) : 0x7fffffff))
    #else
    #include <unistd.h>
    #define otel_ml_write write
    #endif
    static int otel_ml_digits(long long number) {
        int count = 1;
        while ((number /= 10) != 0) count++;
        return count;
    }
    static char *otel_ml_decimal(char *to, long long number) {
        char digits[20];
        int count = 0;
        do digits[count++] = (char)('0' + number % 10); while ((number /= 10) != 0);
        while (count) *to++ = digits[--count];
        return to;
    }
    static char *otel_ml_hex(char *to, const unsigned char *bytes, size_t size) {
        static const char digits[] = "0123456789abcdef";
        for (size_t i = 0; i < size; i++) {
            *to++ = digits[bytes[i] >> 4];
            *to++ = digits[bytes[i] & 15];
        }
        return to;
    }
    """
    Py_ssize_t otel_ml_write(int descriptor, const void *data, size_t size) noexcept nogil
    int otel_ml_digits(int64_t number) noexcept nogil
    char *otel_ml_decimal(char *to, int64_t number) noexcept nogil
    char *otel_ml_hex(char *to, const unsigned char *data, size_t size) noexcept nogil

HEAD = b',"hash":"'
TAIL = b'"}\n'

cdef enum:
    SUFFIX = 7 + 9 + 64 + 3  # what a line has beside its body and its number

cdef struct _Body:
    const char *data
    Py_ssize_t size

cdef bint _portable = False


def use_portable(bint value):
    """Have hashes computed without the processor's own instructions, for a test of that code."""
    global _portable
    _portable = value


def seal(list bodies not None, bytes root not None, int64_t seq, int descriptor=-1):
    """See `sealing.py`."""
    cdef tuple held = tuple(bodies)  # so that no body goes away while the GIL is released
    cdef Py_ssize_t count = PyTuple_GET_SIZE(held), size = 0, index, written = 0
    cdef _Body *parts
    cdef bytes lines
    cdef char *text
    cdef unsigned char chained[32]
    cdef bint portable = _portable
    if PyBytes_GET_SIZE(root) != 32 or seq < 0:
        raise ValueError("a hash has 32 bytes, and no sequence number is negative")
    parts = <_Body *>malloc((count + 1) * sizeof(_Body))
    if parts is NULL:
        raise MemoryError
    try:
        for index in range(count):
            body = <object>PyTuple_GET_ITEM(held, index)
            if type(body) is not bytes:
                raise TypeError(f"expected bytes as body of a line, got {type(body).__name__}")
            parts[index].data = PyBytes_AS_STRING(body)
            parts[index].size = PyBytes_GET_SIZE(body)
            size += parts[index].size + otel_ml_digits(seq + index) + SUFFIX
        lines = PyBytes_FromStringAndSize(NULL, size)
        text = PyBytes_AS_STRING(lines)
        memcpy(chained, PyBytes_AS_STRING(root), 32)
        with nogil:
            _seal(text, parts, count, chained, seq, portable)
            if descriptor >= 0 and size:
                written = otel_ml_write(descriptor, text, size)
                if written < 0:
                    written = 0 if errno == EINTR else -errno
    finally:
        free(parts)
    return lines, PyBytes_FromStringAndSize(<char *>chained, 32), written


def link(bytes root not None, bytes body not None):
    """See `sealing.py`."""
    cdef unsigned char digest[32]
    cdef sha256_begun message
    if PyBytes_GET_SIZE(root) != 32:
        raise ValueError("a hash has 32 bytes")
    sha256_begin(&message, <unsigned char *>PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    sha256_one(&message, 0, _portable)
    sha256_end(&message, <unsigned char *>PyBytes_AS_STRING(root), digest, _portable)
    return PyBytes_FromStringAndSize(<char *>digest, 32)


cdef void _seal(
    char *to, _Body *parts, Py_ssize_t count, unsigned char *chained, int64_t seq, bint portable
) noexcept nogil:
    cdef sha256_begun messages[2]
    cdef char *ends[2]
    cdef char *line
    cdef Py_ssize_t index, n, together
    for index in range(0, count, 2):
        together = 2 if index + 1 < count else 1
        sha256_begin(&messages[1], NULL, 0)
        for n in range(together):
            line = to
            memcpy(to, parts[index + n].data, parts[index + n].size)
            to += parts[index + n].size
            memcpy(to, b',"seq":', 7)
            ends[n] = otel_ml_decimal(to + 7, seq + index + n)
            sha256_begin(&messages[n], <unsigned char *>line, ends[n] - line)
            to = ends[n] + 9 + 64 + 3
        sha256_both(&messages[0], &messages[1], portable)
        for n in range(together):
            sha256_end(&messages[n], chained, chained, portable)
            memcpy(ends[n], b',"hash":"', 9)
            memcpy(otel_ml_hex(ends[n] + 9, chained, 32), b'"}\n', 3)
