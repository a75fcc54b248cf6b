"""An entry as one flat line of JSON.

python-json-logger formats on the caller's thread from the LogRecord and is several times slower than this
(`benchmarks/bench_log_format.py` prints the ratio), which is why the project has its own.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

import orjson

from otel_ml.logs.entries import Entry

# Line ends and control characters that orjson leaves as they are: C1 controls, U+2028 and U+2029. Tools that split
# text at every Unicode line end, and terminals, would act on them.
_RAW_CONTROLS = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


class LineEncoder:
    """Makes JSON lines, on one thread.

    Args:
        service: Value of `service` in each line.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._second = -1
        self._prefix = ""

    def encode(self, entry: Entry) -> bytes:
        """Return the line, with its newline; any entry gives exactly one.

        Raises:
            TypeError: An extra is not plain data.
        """
        fields = self._fields(entry)
        try:
            line = orjson.dumps(fields, option=_OPTIONS)
        except TypeError:  # lone surrogates, which are not valid UTF-8
            line = orjson.dumps(_without_surrogates(fields), option=_OPTIONS, default=str)
        return line if line.isascii() else _RAW_CONTROLS.sub(_escaped, line)

    def _fields(self, entry: Entry) -> dict[str, Any]:
        file, function, number = entry.code
        fields: dict[str, Any] = {
            "timestamp": self._timestamp(entry.time_ns),
            "level": entry.level_name,
            "logger": entry.logger,
            "message": entry.message,
        }
        if entry.trace_id:
            fields["trace_id"] = f"{entry.trace_id:032x}"
            fields["span_id"] = f"{entry.span_id:016x}"
            fields["trace_flags"] = f"{entry.trace_flags:02x}"
        if entry.run_id:
            fields["run_id"] = entry.run_id
        fields["service"] = self._service
        fields["module"] = os.path.splitext(os.path.basename(file))[0]
        fields["function"] = function
        fields["line"] = number
        for key, value in entry.extra.items():
            _add(fields, key, value)
        if entry.exception is not None:
            if "exception" in fields:
                _add(fields, "extra_exception", fields.pop("exception"))
            fields["exception"] = entry.exception
        return fields

    def _timestamp(self, time_ns: int) -> str:
        second, rest = divmod(time_ns, 1_000_000_000)
        if second != self._second:
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{rest // 1000:06d}Z"


def _add(fields: dict[str, Any], key: str, value: object) -> None:
    """Add an extra; one that has the name of a field of ours says the same (structlog's do) or takes another name."""
    if key not in fields:
        fields[key] = value
        return
    if str(fields[key]).lower() != str(value).lower():
        while key in fields:
            key = f"extra_{key}"
        fields[key] = value


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match.group().decode())


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_surrogates(item) for item in value]
    return value
