"""`quick_line.py` in C: where this is compiled, it is found first."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from otel_ml.audit import record
from otel_ml.tracing.random_ids cimport put_hex

cdef extern from *:
    """
    static CYTHON_INLINE int otel_ml_128_bits(PyObject *number, uint64_t *high, uint64_t *low) {
        unsigned char bytes[16];
    #if PY_VERSION_HEX >= 0x030D0000
        if (PyLong_AsNativeBytes(number, bytes, 16, Py_ASNATIVEBYTES_LITTLE_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER) < 0) return -1;
    #else
        if (_PyLong_AsByteArray((PyLongObject *)number, bytes, 16, 1, 0) < 0) return -1;
    #endif
        *high = *low = 0;
        for (int at = 7; at >= 0; at--) *high = *high << 8 | bytes[8 + at], *low = *low << 8 | bytes[at];
        return 0;
    }
    static CYTHON_INLINE char *otel_ml_put_decimal(char *to, unsigned long long number, int least_digits) {
        static const char pairs[] =
            "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051"
            "525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
        char digits[24];
        char *const end = digits + sizeof digits;
        char *at = end;
        for (; number >= 10; number /= 100) memcpy(at -= 2, pairs + 2 * (number % 100), 2);
        if (number || at == end) *--at = (char)('0' + number);
        while (end - at < least_digits) *--at = '0';
        memcpy(to, at, end - at);
        return to + (end - at);
    }
    /* Whether some byte is above 0x7e or a line break, which JSON allows between its tokens; sixteen bytes at a time. */
    static CYTHON_INLINE int otel_ml_is_unusual(const char *data, Py_ssize_t size) {
        int found = 0;
    #ifdef __GNUC__
        typedef signed char sixteen __attribute__((vector_size(16)));
        const sixteen space = {32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32}, rubout = space + 95;
        sixteen unusual = {0}, some;
        unsigned long long halves[2];
        for (; size >= 16; data += 16, size -= 16) {
            memcpy(&some, data, 16);
            unusual |= (some < space) | (some == rubout);  /* above 0x7f it is negative */
        }
        memcpy(halves, &unusual, 16);
        found = (halves[0] | halves[1]) != 0;
    #endif
        for (; size; data++, size--) found |= (unsigned char)*data >= 0x7f || (unsigned char)*data < 0x20;
        return found;
    }
    static CYTHON_INLINE const char *otel_ml_utf8(PyObject *text, Py_ssize_t *size) {
        return PyUnicode_AsUTF8AndSize(text, size);
    }
    """
    int otel_ml_128_bits(object number, uint64_t *high, uint64_t *low) except -1
    char *otel_ml_put_decimal(char *to, int64_t number, int least_digits) noexcept
    bint otel_ml_is_unusual(const char *data, Py_ssize_t size) noexcept
    const char *otel_ml_utf8(object text, Py_ssize_t *size) except NULL

cdef enum:
    ROOM = 512  # for what is neither known before nor the caller's: at most 36 + 20 + 26 + 100 bytes of it are used

cdef bytes OPENING = record.OPENING
cdef Py_ssize_t MOST_BODY = record.MOST_BODY


cpdef object quick_line(
    str record_id, int64_t started_ns, int64_t duration_ns, object trace_id, object span_id, int flags, bytes middle,
    bytes features, bytes prediction, bytes mask
):
    """See `quick_line.py`."""
    cdef char head[ROOM]
    cdef uint64_t high = 0, low = 0
    cdef char *to = head
    cdef Py_ssize_t size
    cdef const char *text = otel_ml_utf8(record_id, &size)
    if size > 64 or started_ns < 0 or duration_ns < 0 or flags < 0:
        return None
    if _needs_a_look(features, mask) or _needs_a_look(prediction, mask):
        return None
    to = _put(_put(to, b'{"record_id":"', 14), text, size)
    to[0] = b'"'
    to = _put(to + 1, PyBytes_AS_STRING(OPENING), PyBytes_GET_SIZE(OPENING))
    to = otel_ml_put_decimal(to, started_ns, 1)
    to = otel_ml_put_decimal(_put(to, b',"duration_ms":', 15), duration_ns // 1_000_000, 1)
    to[0] = b'.'
    to = otel_ml_put_decimal(to + 1, duration_ns % 1_000_000, 6)
    if trace_id:
        otel_ml_128_bits(trace_id, &high, &low)
        to = _put_hex(_put_hex(_put(to, b',"trace_id":"', 13), high), low)
        to = _put_hex(_put(to, b'","span_id":"', 13), span_id)
        to = otel_ml_put_decimal(_put(to, b'","trace_flags":', 16), flags, 1)
    return _joined(head, to - head, middle, features, prediction)


cdef bint _needs_a_look(bytes payload, bytes mask) noexcept:
    cdef const char *at
    cdef const char *end
    cdef Py_ssize_t size
    if payload is None:
        return False
    at, size = PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload)
    if otel_ml_is_unusual(at, size):
        return True
    end, size = at + size, PyBytes_GET_SIZE(mask)
    while end - at >= size:  # the mask's second byte is a rarer one than the quotation mark before it
        at = <const char *>memchr(at + 1, PyBytes_AS_STRING(mask)[1], end - at - 1)
        if at is NULL:
            return False
        if end - at >= size - 1 and memcmp(at - 1, PyBytes_AS_STRING(mask), size) == 0:
            return True
    return False


cdef object _joined(const char *head, Py_ssize_t head_size, bytes middle, bytes features, bytes prediction):
    cdef bytes body
    cdef char *to
    cdef Py_ssize_t size = head_size + PyBytes_GET_SIZE(middle)
    if features is not None:
        size += 12 + PyBytes_GET_SIZE(features)
    if prediction is not None:
        size += 14 + PyBytes_GET_SIZE(prediction)
    if size > MOST_BODY:
        return None
    body = PyBytes_FromStringAndSize(NULL, size)
    to = _put(PyBytes_AS_STRING(body), head, head_size)
    to = _put(to, PyBytes_AS_STRING(middle), PyBytes_GET_SIZE(middle))
    if features is not None:
        to = _put(_put(to, b',"features":', 12), PyBytes_AS_STRING(features), PyBytes_GET_SIZE(features))
    if prediction is not None:
        _put(_put(to, b',"prediction":', 14), PyBytes_AS_STRING(prediction), PyBytes_GET_SIZE(prediction))
    return body


cdef inline char *_put(char *to, const char *data, Py_ssize_t size) noexcept:
    memcpy(to, data, size)
    return to + size


cdef inline char *_put_hex(char *to, uint64_t number) noexcept:
    put_hex(to, number)
    return to + 16
