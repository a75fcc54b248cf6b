"""`random_ids.py` with a generator in C, xoshiro256** (prng.di.unimi.it); where this is compiled, it is found first."""

import os
import random

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    static CYTHON_INLINE PyObject *otel_ml_128_bits(uint64_t high, uint64_t low) {
        uint64_t words[2] = {low, high};
    #if PY_BIG_ENDIAN
        words[0] = high; words[1] = low;
    #endif
    #if PY_VERSION_HEX >= 0x030E0000
        return PyLong_FromUnsignedNativeBytes(words, sizeof words, Py_ASNATIVEBYTES_NATIVE_ENDIAN);
    #else
        return _PyLong_FromByteArray((unsigned char *)words, sizeof words, PY_LITTLE_ENDIAN, 0);
    #endif
    }
    /* The 16 digits of a number, 8 of them at a time: each half byte gets a byte, and each byte is made a digit. */
    static CYTHON_INLINE void otel_ml_hex(char *to, uint64_t number) {
        const uint64_t ones = 0x0101010101010101ULL;
        for (int half = 0; half < 2; half++, to += 8) {
            uint64_t word = half ? number & 0xFFFFFFFFULL : number >> 32, letters;
            word = (word | word << 16) & 0x0000FFFF0000FFFFULL;
            word = (word | word << 8) & 0x00FF00FF00FF00FFULL;
            word = (word | word << 4) & 0x0F0F0F0F0F0F0F0FULL;
            letters = (word + 6 * ones) >> 4 & ones;
            word += '0' * ones + letters * ('a' - '0' - 10);
    #if !PY_BIG_ENDIAN
            word = (word & 0x00FF00FF00FF00FFULL) << 8 | (word >> 8 & 0x00FF00FF00FF00FFULL);
            word = (word & 0x0000FFFF0000FFFFULL) << 16 | (word >> 16 & 0x0000FFFF0000FFFFULL);
            word = word << 32 | word >> 32;
    #endif
            memcpy(to, &word, 8);
        }
    }
    static PyObject *otel_ml_uuid(uint64_t high, uint64_t low) {
        PyObject *text = PyUnicode_New(36, 127);
        if (text == NULL) return NULL;
        char *to = (char *)PyUnicode_DATA(text), digits[32];
        otel_ml_hex(digits, high);
        otel_ml_hex(digits + 16, low);
        memcpy(to, digits, 8);
        memcpy(to + 9, digits + 8, 4);
        memcpy(to + 14, digits + 12, 4);
        memcpy(to + 19, digits + 16, 4);
        memcpy(to + 24, digits + 20, 12);
        to[8] = to[13] = to[18] = to[23] = '-';
        return text;
    }
    """
    object otel_ml_128_bits(uint64_t high, uint64_t low)
    object otel_ml_uuid(uint64_t high, uint64_t low)
    void otel_ml_hex(char *to, uint64_t number) noexcept nogil

cdef uint64_t VARIANT = <uint64_t>1 << 63  # a literal as large would be an object of Python
cdef uint64_t _state[4]
cdef object _seeded = None


cdef inline uint64_t _rotated(uint64_t x, int k) noexcept nogil:
    return (x << k) | (x >> (64 - k))


cdef uint64_t _next() noexcept nogil:
    cdef uint64_t result = _rotated(_state[1] * 5, 7) * 9
    cdef uint64_t shifted = _state[1] << 17
    _state[2] ^= _state[0]
    _state[3] ^= _state[1]
    _state[1] ^= _state[2]
    _state[0] ^= _state[3]
    _state[2] ^= shifted
    _state[3] = _rotated(_state[3], 45)
    return result


cpdef object trace_id():
    """Return 128 random bits that are not all 0."""
    cdef uint64_t high
    if _seeded is not None:
        return _seeded.getrandbits(128) or trace_id()
    high = _next()
    return otel_ml_128_bits(high, _next() or 1)


cpdef object span_id():
    """Return 64 random bits that are not all 0."""
    if _seeded is not None:
        return _seeded.getrandbits(64) or span_id()
    return _next() or 1


cdef int draw_ids(uint64_t *high, uint64_t *low, uint64_t *span) except -1:
    """Draw a trace id and a span id, in this order."""
    if _seeded is not None:
        drawn = trace_id()
        high[0], low[0], span[0] = drawn >> 64, drawn & 0xFFFFFFFFFFFFFFFF, span_id()
    else:
        high[0] = _next()
        low[0] = _next() or 1
        span[0] = _next() or 1
    return 0


cdef void put_hex(char *to, uint64_t number) noexcept nogil:
    """Write the 16 digits of a number."""
    otel_ml_hex(to, number)


cpdef object uuid7(int64_t time_ns):
    """Return a UUIDv7 (RFC 9562) as text.

    Args:
        time_ns: Nanoseconds since the epoch.
    """
    cdef uint64_t rest, time = <uint64_t>(time_ns // 1_000_000), more
    if _seeded is not None:
        bits = _seeded.getrandbits(76)
        rest, more = bits & 0x3FFFFFFFFFFFFFFF, bits >> 64
    else:
        rest, more = _next() >> 2, _next() >> 52
    return otel_ml_uuid(time << 16 | 0x7000 | more, rest | VARIANT)


def seed(value=None):
    """Begin anew: with a value, for tests, with the ids that the SDK would draw after `random.seed(value)`."""
    global _seeded
    cdef bytes entropy
    _seeded = None if value is None else random.Random(value)
    if value is None:
        entropy = os.urandom(32)
        memcpy(_state, <const char *>entropy, 32)
        _state[0] |= 1  # all 0 would stay so


seed()
if hasattr(os, "register_at_fork"):  # parent and child would go on with the same ids
    os.register_at_fork(after_in_child=seed)
