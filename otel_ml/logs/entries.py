"""What the listener gets: one log record, free of the caller's objects."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from opentelemetry.trace import TraceFlags, get_current_span

from otel_ml.errors import shorten
from otel_ml.exceptions import error_type
from otel_ml.logs import extras
from otel_ml.runs import current_run

INJECTED: Final = ("otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName", "otelRunID")
"""Attributes put on each record when it is made; the first four are those of opentelemetry-instrumentation-logging."""

KNOWN_EXCEPTION: Final = "otelExceptionKnown"
"""Attribute of a record whose exception has been logged before: its line is written without it."""

_STANDARD: Final = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName", *INJECTED, KNOWN_EXCEPTION}
)
LAST_INJECTED: Final = INJECTED[-1]
NUMBER_INJECTED: Final = len(vars(logging.LogRecord("", 0, "", 0, "", (), None))) + len(INJECTED)
"""Fields of a record that our factory made, on top of nobody else's; the last it put there is `LAST_INJECTED`."""
_TRACEBACK: Final = "Traceback (most recent call last)"
ATOMS: Final = frozenset({str, int, float, bool, type(None)})
_STRUCTLOG_PRIVATE: Final = frozenset({"_logger", "_name", "_record", "_from_structlog"})


@dataclass(slots=True)
class Entry:
    """One log record on its way to the sinks.

    Args:
        time_ns: When it was made, nanoseconds since the epoch.
        level: Number of its level.
        level_name: Name of its level.
        logger: Name of its logger.
        message: Formatted message.
        trace_id: 32 lower-case hex digits, as the record has them; empty outside a span.
        span_id: 16 lower-case hex digits; empty outside a span.
        trace_flags: 1 when the span is sampled; the record says no more than that.
        run_id: Run that it was made in.
        extra: The caller's `extra` as plain data.
        exception: `type`, `message` and `stacktrace`, as far as known.
        code: File, function and line that logged.
        internal: Whether an exporter made it while exporting, so that it may not be exported itself.
    """

    time_ns: int
    level: int
    level_name: str
    logger: str
    message: str
    trace_id: str
    span_id: str
    trace_flags: int
    run_id: str | None
    extra: dict[str, Any]
    exception: dict[str, str] | None
    code: tuple[str, str, int]
    internal: bool = False


class Problem(NamedTuple):
    """Something in a record that raised: the line is written without it."""

    reason: str
    error: Exception


def nanoseconds(made: float) -> int:
    """Return a record's time in nanoseconds; now, if it has none that can be."""
    return int(made * 1e6) * 1000 if 0 < made < 2**33 else time.time_ns()


def from_record(record: logging.LogRecord, *, nested: bool) -> tuple[Entry, list[Problem]]:
    """Build the entry for a record, with what could not be had.

    Args:
        record: The record.
        nested: Whether this thread is already building one, because the caller's `__repr__` logs. Then no code of the
            caller's is run again, or there would be no end to it: the line has no extra and no exception.
    """
    problems: list[Problem] = []
    fields = vars(record)
    trace_id, span_id, trace_flags = ids_in(fields)
    extra: dict[str, Any] = {}
    exception = None
    if nested:
        message = _nested_message(record)
    else:
        given = given_in(fields)
        message = _message(record, given, problems)
        has_exception = record.exc_info or record.exc_text or "exc_info" in given or "exception" in given
        if has_exception and KNOWN_EXCEPTION not in fields:
            exception = _exception(record, given, problems)
        if record.stack_info:
            given.setdefault("stack_info", record.stack_info)
        if given:
            extra = extra_of(given, problems)
    entry = Entry(
        nanoseconds(record.created),
        record.levelno, record.levelname, str(record.name), extras.shortened(message),
        trace_id, span_id, trace_flags, run_id_in(fields), extra,
        exception, (record.pathname, record.funcName or "", record.lineno),
    )  # fmt: skip
    return entry, problems


def given_in(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what the caller passed in `extra`, in its order: logging adds it to the record last."""
    later: list[str] = []
    for key in reversed(fields):
        if key == LAST_INJECTED:
            break
        later.append(key)
    if len(fields) - len(later) == NUMBER_INJECTED:  # made by our factory, on top of nobody else's
        names = {key for key in later if key not in _STANDARD}
    else:
        names = fields.keys() - _STANDARD
        later = list(reversed(fields)) if names else []
    return {key: fields[key] for key in reversed(later) if key in names}


def ids_in(fields: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return the ids put on the record when it was made, or those of the open span for a record made elsewhere."""
    made = fields.get("otelTraceID")
    if made == "0":
        return "", "", 0
    if type(made) is str and len(made) == 32:
        return made, str(fields.get("otelSpanID")), 1 if fields.get("otelTraceSampled") else 0
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return "", "", 0
    return format(context.trace_id, "032x"), format(context.span_id, "016x"), context.trace_flags & TraceFlags.SAMPLED


def run_id_in(fields: Mapping[str, Any]) -> str | None:
    """Return the run id put on the record when it was made, or that of the run we are in; None outside a run."""
    made = fields.get("otelRunID")
    if type(made) is str:
        return made or None
    run = current_run()
    return run.id if run is not None else None


def _message(record: logging.LogRecord, given: dict[str, Any], problems: list[Problem]) -> str:
    """Format the message; a mapping as message (structlog's `wrap_for_formatter`, JSON loggers) goes into `given`."""
    try:
        message, arguments = record.msg, record.args
        if type(message) is str:
            if not arguments:
                return message
            return _formatted(message, arguments)
        if isinstance(message, Mapping):
            return _from_mapping(message, given)
        shown = str(extras.argument(message))
        return _formatted(shown, arguments) if arguments else shown
    except Exception as error:  # the format is wrong, or an argument's own code raised
        problems.append(Problem("bad_message", error))
        template = record.msg if type(record.msg) is str else f"<{type(record.msg).__name__}>"
        return f"{template} (arguments: {shorten(record.args)})" if record.args else template


def _nested_message(record: logging.LogRecord) -> str:
    """Format a message as far as no code of the caller's runs."""
    message, arguments = record.msg, record.args
    if type(message) is not str:
        return f"<{type(message).__name__}>"
    if not isinstance(arguments, tuple) or any(type(argument) not in ATOMS for argument in arguments):
        return message
    try:
        return message % arguments
    except (TypeError, ValueError):
        return message


def _formatted(message: str, arguments: Any) -> str:
    if type(arguments) is tuple and ATOMS.issuperset(map(type, arguments)):
        return str.__mod__(message, arguments)
    if isinstance(arguments, Mapping):
        return str(message % {key: extras.argument(value) for key, value in arguments.items()})
    return str(message % tuple([extras.argument(value) for value in arguments]))


def _from_mapping(message: Mapping[Any, Any], given: dict[str, Any]) -> str:
    for key in _STRUCTLOG_PRIVATE:
        given.pop(key, None)
    for key, value in message.items():
        if key not in _STRUCTLOG_PRIVATE:
            given.setdefault(key, value)
    event = given.pop("event", None)
    return str(extras.argument(event if event is not None else given.pop("message", "")))


def _exception(record: logging.LogRecord, given: dict[str, Any], problems: list[Problem]) -> dict[str, str] | None:
    """Describe the exception; structlog leaves it in the event, as `exc_info` or rendered as `exception`."""
    try:
        left = given.pop("exc_info", None)
        exc_info = record.exc_info or left
        if exc_info is True:
            exc_info = sys.exc_info()
        error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
        rendered = record.exc_text
        if type(given.get("exception")) is str and given["exception"].startswith(_TRACEBACK):
            rendered = rendered or given.pop("exception")
        if isinstance(error, BaseException):
            return _described(error, rendered, problems)
        return {"stacktrace": extras.shortened(rendered)} if rendered else None
    except Exception as failure:
        problems.append(Problem("bad_exception", failure))
        return None


def _described(error: BaseException, rendered: str | None, problems: list[Problem]) -> dict[str, str]:
    try:
        message = str(error)
    except Exception as failure:
        problems.append(Problem("bad_exception", failure))
        message = f"<__str__ raised {type(failure).__name__}>"
    # Rendering costs more than all the rest; another handler or a step may have done it before.
    if rendered is None or not rendered.startswith(_TRACEBACK):
        rendered = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"type": error_type(error), "message": extras.shortened(message), "stacktrace": extras.shortened(rendered)}


def extra_of(given: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Return what the caller passed in `extra` as plain data, and add to `problems` what could not be had."""
    extra: dict[str, Any] = {}
    for key, value in given.items():
        try:
            extra[key if type(key) is str else extras.text(key)] = extras.plain(value)
        except Exception as error:
            problems.append(Problem("bad_extra", error))
            extra[key if type(key) is str else f"<{type(key).__name__}>"] = f"<{type(value).__qualname__}>"
    return extra
