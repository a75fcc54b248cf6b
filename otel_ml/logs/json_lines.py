"""An entry as one flat line of JSON.

python-json-logger, also with orjson, takes several times as long for the same line, and half as long again with a queue
before it (`benchmarks/bench_log_format.py` prints the ratios), which is why the project has its own.
"""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from typing import Any

import orjson

from otel_ml.logs.entries import Entry

# Line ends and control characters that orjson leaves as they are: C1 controls, U+2028 and U+2029. Tools that split
# text at every Unicode line end, and terminals, would act on them.
RAW_CONTROLS = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_OPTIONS = orjson.OPT_APPEND_NEWLINE
_MOST_PLACES = 4096
_NAMES = frozenset(
    "timestamp level logger message trace_id span_id trace_flags run_id service module function line exception".split()
)


Place = tuple[str, str, tuple[str, str, int]]


class LineEncoder:
    """Makes JSON lines, on one thread.

    Args:
        service: Value of `service` in each line.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._second = -1
        self._prefix = ""
        self._begun = b""
        self._places: dict[Any, tuple[bytes, bytes]] = {}

    def encode(self, entry: Entry) -> bytes:
        """Return the line, with its newline; any entry gives exactly one.

        Raises:
            TypeError: An extra is not plain data.
        """
        if entry.exception is None and _NAMES.isdisjoint(entry.extra):
            try:
                line = self._simple(entry)
                return escaped(line)
            except TypeError:  # as below
                pass
        fields = self._fields(entry)
        try:
            line = orjson.dumps(fields, option=_OPTIONS)
        except TypeError:  # lone surrogates, which are not valid UTF-8, or what a redaction callback returned
            line = orjson.dumps(_writable(fields), option=_OPTIONS, default=str)
        return escaped(line)

    def _simple(self, entry: Entry) -> bytes:
        """Return the line of an entry without exception, put together from parts that are the same often."""
        second, rest = divmod(entry.time_ns, 1_000_000_000)
        if second != self._second:
            self._begin(second)
        place = (entry.level_name, entry.logger, entry.code)
        parts = self._places.get(place) or self.parts(place)
        ids = b""
        if entry.trace_id:
            if not (entry.trace_id.isalnum() and entry.span_id.isalnum()):  # an application's filter wrote there
                raise TypeError
            flags = "01" if entry.trace_flags else "00"
            ids = f',"trace_id":"{entry.trace_id}","span_id":"{entry.span_id}","trace_flags":"{flags}"'.encode()
        if entry.run_id:
            ids += b',"run_id":' + orjson.dumps(entry.run_id)
        message = orjson.dumps(entry.message)
        extra = b"," + orjson.dumps(entry.extra)[1:] if entry.extra else b"}"
        return b"".join((self._begun, b"%06d" % (rest // 1000), parts[0], message, ids, parts[1], extra, b"\n"))

    def _begin(self, second: int) -> None:
        self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._begun = f'{{"timestamp":"{self._prefix}.'.encode()
        self._second = second

    def parts(self, place: Place) -> tuple[bytes, bytes]:
        """Return what the lines of a place have between time and message, and at the end but for the extra.

        Args:
            place: Level, logger, and file, function and line.
        """
        level, logger, (file, function, number) = place
        before = orjson.dumps({"level": level, "logger": logger})
        fields = {"service": self._service, "module": _module(file), "function": function, "line": number}
        parts = b'Z",' + before[1:-1] + b',"message":', b"," + orjson.dumps(fields)[1:-1]
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
        self._places[place] = parts
        return parts

    def _fields(self, entry: Entry) -> dict[str, Any]:
        file, function, number = entry.code
        second, rest = divmod(entry.time_ns, 1_000_000_000)
        if second != self._second:
            self._begin(second)
        fields: dict[str, Any] = {
            "timestamp": f"{self._prefix}.{rest // 1000:06d}Z",
            "level": entry.level_name,
            "logger": entry.logger,
            "message": entry.message,
        }
        if entry.trace_id:
            fields["trace_id"] = entry.trace_id
            fields["span_id"] = entry.span_id
            fields["trace_flags"] = "01" if entry.trace_flags else "00"
        if entry.run_id:
            fields["run_id"] = entry.run_id
        fields["service"] = self._service
        fields["module"] = _module(file)
        fields["function"] = function
        fields["line"] = number
        for key, value in entry.extra.items():
            if key in fields:
                _add(fields, key, value)
            else:
                fields[key] = value
        if entry.exception is not None:
            theirs = fields.pop("exception", None)
            fields["exception"] = entry.exception
            if theirs is not None:
                _add(fields, "exception", theirs)
        return fields


@lru_cache(maxsize=4096)
def _module(file: str) -> str:
    return os.path.splitext(os.path.basename(file))[0]


def _add(fields: dict[str, Any], key: str, value: object) -> None:
    """Add an extra with the name of a field of ours: it says the same, as structlog's do, or takes another name."""
    if str(fields[key]).lower() != str(value).lower():
        while key in fields:
            key = f"extra_{key}"
        fields[key] = value


def escaped(line: bytes) -> bytes:
    """Return a line of JSON in which no tool finds the end of a line."""
    return line if line.isascii() else RAW_CONTROLS.sub(_escape, line)


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match.group().decode())


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_writable(str(key)): _writable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_writable(item) for item in value]
    return value
