"""`quick_line.py` in C: where this is compiled, it is found first."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_Next, PyDict_Size
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from cpython.unicode cimport PyUnicode_Format
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from otel_ml import prefilter
from otel_ml.logs.entries import INJECTED
from otel_ml.logs.extras import MAX_STRING
from otel_ml.logs.quick_record import FIELDS

cdef extern from *:
    """
    static CYTHON_INLINE char *otel_ml_put_digits(char *to, long long number, int digits) {
        for (int i = digits; i--; number /= 10) to[i] = (char)('0' + number % 10);
        return to + digits;
    }
    /* As in "2026-11-27T22:33:41.123456"; the day by Howard Hinnant's `civil_from_days`. */
    static char *otel_ml_put_time(char *to, long long micros) {
        long long seconds = micros / 1000000, days = seconds / 86400 + 719468, rest = seconds % 86400;
        long long era = days / 146097, of_era = days % 146097;
        long long year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        long long of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
        long long day = of_year - (153 * month + 2) / 5 + 1;
        month += month < 10 ? 3 : -9;
        to = otel_ml_put_digits(to, year + era * 400 + (month <= 2), 4);
        *to++ = '-';
        to = otel_ml_put_digits(to, month, 2);
        *to++ = '-';
        to = otel_ml_put_digits(to, day, 2);
        *to++ = 'T';
        to = otel_ml_put_digits(to, rest / 3600, 2);
        *to++ = ':';
        to = otel_ml_put_digits(to, rest / 60 % 60, 2);
        *to++ = ':';
        to = otel_ml_put_digits(to, rest % 60, 2);
        *to++ = '.';
        return otel_ml_put_digits(to, micros % 1000000, 6);
    }
    /* Bytes that a text takes in JSON without its quotation marks; -1 when it has a line end or control character that
       orjson would leave as it is. Nearly all texts are told by looking at eight bytes at a time. */
    static Py_ssize_t otel_ml_json_size(const char *data, Py_ssize_t size) {
        const unsigned long long ones = 0x0101010101010101ULL, top = 0x8080808080808080ULL;
        unsigned long long found = 0, word, quote, slash;
        Py_ssize_t at = 0, needed = 0;
        for (; at + 8 <= size; at += 8) {
            memcpy(&word, data + at, 8);
            quote = word ^ (ones * '"');
            slash = word ^ (ones * '\\\\');
            found |= word | ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash);
        }
        for (; at < size; at++) {
            unsigned char c = (unsigned char)data[at];
            if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\\\') found |= top;
        }
        if (!(found & top)) return size;
        for (at = 0; at < size; at++) {
            unsigned char c = (unsigned char)data[at];
            if (c == '"' || c == '\\\\') needed += 2;
            else if (c < 0x20) needed += c == '\\b' || c == '\\t' || c == '\\n' || c == '\\f' || c == '\\r' ? 2 : 6;
            else if (c == 0xc2 && (unsigned char)data[at + 1] < 0xa0) return -1;
            else if (c == 0xe2 && (unsigned char)data[at + 1] == 0x80 && ((unsigned char)data[at + 2] & 0xfe) == 0xa8)
                return -1;
            else needed++;
        }
        return needed;
    }
    static char *otel_ml_put_json(char *to, const char *data, Py_ssize_t size, Py_ssize_t needed) {
        static const char digits[] = "0123456789abcdef";
        if (size == needed) {
            memcpy(to, data, size);
            return to + size;
        }
        for (Py_ssize_t at = 0; at < size; at++) {
            unsigned char c = (unsigned char)data[at];
            if (c >= 0x20 && c != '"' && c != '\\\\') {
                *to++ = (char)c;
                continue;
            }
            *to++ = '\\\\';
            switch (c) {
                case '\\b': *to++ = 'b'; break;
                case '\\t': *to++ = 't'; break;
                case '\\n': *to++ = 'n'; break;
                case '\\f': *to++ = 'f'; break;
                case '\\r': *to++ = 'r'; break;
                case '"': case '\\\\': *to++ = (char)c; break;
                default:
                    memcpy(to, "u00", 3);
                    to[3] = digits[c >> 4];
                    to[4] = digits[c & 15];
                    to += 5;
            }
        }
        return to;
    }
    static void otel_ml_put_shape(char *to, const char *data, Py_ssize_t size) {
        for (Py_ssize_t at = 0; at < size; at++) to[at] = data[at] >= '1' && data[at] <= '9' ? '0' : data[at];
    }
    static int otel_ml_is_alphanumeric(const char *data, Py_ssize_t size) {
        for (Py_ssize_t at = 0; at < size; at++) {
            char c = data[at];
            if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) return 0;
        }
        return size > 0;
    }
    static CYTHON_INLINE const char *otel_ml_text(PyObject *text, Py_ssize_t *size) {
        return PyUnicode_AsUTF8AndSize(text, size);
    }
    """
    char *otel_ml_put_time(char *to, int64_t micros) noexcept
    Py_ssize_t otel_ml_json_size(const char *data, Py_ssize_t size) noexcept
    char *otel_ml_put_json(char *to, const char *data, Py_ssize_t size, Py_ssize_t needed) noexcept
    void otel_ml_put_shape(char *to, const char *data, Py_ssize_t size) noexcept
    bint otel_ml_is_alphanumeric(const char *data, Py_ssize_t size) noexcept
    const char *otel_ml_text(object text, Py_ssize_t *size) except NULL

cdef enum:
    MOST_FIELDS = 40
    TIME = 14 + 26  # `{"timestamp":"` and what follows up to the microseconds
    IDS = 13 + 13 + 20  # what stands around two ids, and the flags

cdef Py_ssize_t LONGEST_REMEMBERED = prefilter.LONGEST_REMEMBERED
cdef Py_ssize_t LONGEST = MAX_STRING
cdef object HARMLESS = prefilter.HARMLESS

NAMES = (*FIELDS, *INJECTED)
TYPES_OF_PLACE = (str, str, str, str, int)

cdef tuple _names = NAMES
cdef Py_ssize_t _number = len(NAMES)
cdef Py_ssize_t NAME, MSG, ARGS, LEVEL, PATH, EXC_INFO, EXC_TEXT, STACK_INFO, LINE, FUNCTION, CREATED
NAME, MSG, ARGS, LEVEL, PATH, EXC_INFO, EXC_TEXT, STACK_INFO, LINE, FUNCTION, CREATED = map(NAMES.index, (
    "name", "msg", "args", "levelname", "pathname", "exc_info", "exc_text", "stack_info", "lineno", "funcName", "created"
))
cdef Py_ssize_t TRACE_ID, SPAN_ID, SAMPLED, RUN_ID
TRACE_ID, SPAN_ID, SAMPLED, RUN_ID = map(NAMES.index, ("otelTraceID", "otelSpanID", "otelTraceSampled", "otelRunID"))
assert _number <= MOST_FIELDS

cdef struct _Text:
    const char *data
    Py_ssize_t size


cpdef object quick_line(dict fields, dict known, dict shapes):
    """See `quick_line.py`."""
    cdef PyObject *values[MOST_FIELDS]
    cdef PyObject *found
    if not _has_names(fields, values):
        return None
    if not (_is_false(values[EXC_INFO]) and _is_false(values[EXC_TEXT]) and _is_false(values[STACK_INFO])):
        return None
    level, logger, file = <object>values[LEVEL], <object>values[NAME], <object>values[PATH]
    function, number, made = <object>values[FUNCTION], <object>values[LINE], <object>values[CREATED]
    text, arguments = <object>values[MSG], <object>values[ARGS]
    if type(level) is not str or type(logger) is not str or type(file) is not str or type(function) is not str:
        return None
    if type(number) is not int or type(made) is not float or type(text) is not str:
        return None
    trace, span, run, sampled = (
        <object>values[TRACE_ID], <object>values[SPAN_ID], <object>values[RUN_ID], <object>values[SAMPLED]
    )
    if type(trace) is not str or type(span) is not str or type(run) is not str:
        return None
    found = PyDict_GetItemWithError(known, (level, logger, (file, function, number)))
    if found is NULL:
        return None
    parts = <object>found  # `known` keeps what it has: it is only ever added to
    return line_of(made, parts, text, arguments, trace, span, sampled, run, shapes)


cdef object line_of(
    double made, tuple parts, str text, arguments, str trace_id, str span_id, sampled, str run_id, dict shapes
):
    """Return the line of a record whose place is known; None when it has to go the other way."""
    if trace_id == "0":
        trace_id = ""
    elif len(trace_id) != 32 or type(sampled) is not bool:
        return None
    if arguments:
        if type(arguments) is not tuple or not _are_atoms(arguments):
            return None
        text = PyUnicode_Format(text, arguments)
    return _line(made, parts, text, trace_id, span_id, sampled is True, run_id, shapes)


cdef object _line(
    double made, tuple parts, str message, str trace_id, str span_id, bint sampled, str run_id, dict shapes
):
    cdef _Text text, trace, span, run
    cdef Py_ssize_t needed, ids = 0
    cdef bytes head = parts[0], tail = parts[1], line
    cdef char *to
    if not 0 < made < 8589934592.0:
        return None
    try:
        text.data = otel_ml_text(message, &text.size)
        trace.data = otel_ml_text(trace_id, &trace.size)
        span.data = otel_ml_text(span_id, &span.size)
        run.data = otel_ml_text(run_id, &run.size)
    except UnicodeEncodeError:  # lone surrogates
        return None
    if not (len(message) <= LONGEST if shapes is None else _is_harmless(text, shapes)):
        return None
    needed = otel_ml_json_size(text.data, text.size)
    if needed < 0:
        return None
    if trace.size:
        if not (otel_ml_is_alphanumeric(trace.data, trace.size) and otel_ml_is_alphanumeric(span.data, span.size)):
            return None
        ids = IDS + trace.size + span.size
    if run.size:
        if not _is_plain(run):
            return None
        ids += 12 + run.size
    line = PyBytes_FromStringAndSize(
        NULL, TIME + PyBytes_GET_SIZE(head) + 2 + needed + ids + PyBytes_GET_SIZE(tail)
    )
    to = otel_ml_put_time(_put(PyBytes_AS_STRING(line), b'{"timestamp":"', 14), <int64_t>(made * 1e6))
    to = _put(to, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
    to[0] = b'"'
    to = otel_ml_put_json(to + 1, text.data, text.size, needed)
    to[0] = b'"'
    to += 1
    if trace.size:
        to = _put(_put(to, b',"trace_id":"', 13), trace.data, trace.size)
        to = _put(_put(to, b'","span_id":"', 13), span.data, span.size)
        to = _put(to, b'","trace_flags":"01"' if sampled else b'","trace_flags":"00"', 20)
    if run.size:
        to = _put(_put(to, b',"run_id":"', 11), run.data, run.size)
        to[0] = b'"'
        to += 1
    _put(to, PyBytes_AS_STRING(tail), PyBytes_GET_SIZE(tail))
    return line


cdef bint _has_names(dict fields, PyObject **values) noexcept:
    """Whether a record has `NAMES` and no others, as objects, which they are in a copy of `FIELDS`; take its values."""
    cdef PyObject *key
    cdef Py_ssize_t position = 0, index = 0
    if PyDict_Size(fields) != _number:
        return False
    while PyDict_Next(fields, &position, &key, &values[index]):
        if key != PyTuple_GET_ITEM(_names, index):
            return False
        index += 1
        if index == _number:
            return True
    return False


cdef bint _is_false(PyObject *value) except -1:
    return value == <PyObject *>None or not <object>value


cdef bint _are_atoms(tuple arguments) except -1:
    for argument in arguments:
        kind = type(argument)
        if not (kind is str or kind is int or kind is float or kind is bool or argument is None):
            return False
    return True


cdef bint _is_harmless(_Text text, dict shapes) except -1:
    cdef bytes shape
    cdef PyObject *found
    if text.size > LONGEST_REMEMBERED:
        return False
    shape = PyBytes_FromStringAndSize(NULL, text.size)
    otel_ml_put_shape(PyBytes_AS_STRING(shape), text.data, text.size)
    found = PyDict_GetItemWithError(shapes, shape)
    return found is not NULL and <object>found == HARMLESS


cdef bint _is_plain(_Text text) noexcept:
    cdef Py_ssize_t at
    for at in range(text.size):
        if <unsigned char>text.data[at] >= 0x80:
            return False
    return otel_ml_json_size(text.data, text.size) == text.size


cdef inline char *_put(char *to, const char *data, Py_ssize_t size) noexcept:
    memcpy(to, data, size)
    return to + size
