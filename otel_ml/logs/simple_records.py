"""What the queue carries of most records, which are a text with a few numbers: a flat tuple, and nothing else.

The garbage collector stops looking at tuples of plain values, and what can be done later is done on the listener's
thread. `entries.from_record` takes any record.
"""

from __future__ import annotations

from typing import Any

from otel_ml.logs import extras
from otel_ml.logs.entries import (
    ATOMS,
    LAST_INJECTED,
    NUMBER_INJECTED,
    Entry,
    extra_of,
    given_in,
    ids_in,
    nanoseconds,
    run_id_in,
)  # fmt: skip

Captured = tuple[float, int, str, str, str, str, str, int, str | None, dict[str, Any] | None, tuple[str, str, int]]
"""A simple record: the first ten fields of an `Entry`, the time in seconds, and `code`."""


def captured(fields: dict[str, Any]) -> Captured | None:
    """Return what a simple record says; None of one that only `from_record` can take.

    A simple record's message, arguments and extra are texts, numbers, booleans and None: no code of the caller's runs.

    Args:
        fields: What the record has.

    Raises:
        Exception: The record is not what logging makes, or its format is wrong; `from_record` says what to do then.
    """
    message, arguments = fields["msg"], fields["args"]
    if type(message) is not str or fields["exc_info"] or fields["exc_text"] or fields["stack_info"]:
        return None
    if arguments:
        if type(arguments) is not tuple:
            return None
        for argument in arguments:
            if type(argument) not in ATOMS:
                return None
        message %= arguments
    made = fields["created"]
    if len(message) > extras.MAX_STRING or type(made) is not float or type(fields["name"]) is not str:
        return None
    extra: dict[str, Any] | None = None
    # Nearly always the last that was put into a record is what our factory put there, and there was nothing but that.
    if next(reversed(fields)) != LAST_INJECTED or len(fields) != NUMBER_INJECTED:
        given = given_in(fields)
        if given:
            if "exception" in given or not ATOMS.issuperset(map(type, given.values())):
                return None
            extra = extra_of(given, [])
    trace_id, span_id, flags = fields["otelTraceID"], fields["otelSpanID"], fields["otelTraceSampled"]
    if type(trace_id) is not str or type(span_id) is not str or len(trace_id) != 32 or flags is not True:
        trace_id, span_id, flags = ids_in(fields)
    run_id = fields["otelRunID"]
    if type(run_id) is not str:
        run_id = run_id_in(fields)
    return (
        made, fields["levelno"], fields["levelname"], fields["name"], message, trace_id, span_id, flags,
        run_id or None, extra, (fields["pathname"], fields["funcName"] or "", fields["lineno"]),
    )  # fmt: skip


def simple(  # noqa: PLR0917  in the order of what it returns
    made: float, level: int, level_name: str, name: str, message: str, arguments: tuple[Any, ...],
    ids: tuple[Any, str, str, bool], run_id: str, code: tuple[str, str, int],
) -> Captured | None:  # fmt: skip
    """Return what `captured` does for a record without extra that was not made; None of one that is not simple.

    Args:
        made: Seconds since the epoch.
        level: Its number.
        level_name: Its name.
        name: Of the logger.
        message: Format of the message.
        arguments: What goes into it.
        ids: The span with its ids, as a record has them.
        run_id: As a record has it.
        code: File, function and line that logged.
    """
    if arguments:
        for argument in arguments:
            if type(argument) not in ATOMS:
                return None
        message %= arguments
    if len(message) > extras.MAX_STRING:
        return None
    _, trace_id, span_id, sampled = ids
    if trace_id == "0":
        trace_id, span_id = "", ""
    return made, level, level_name, name, message, trace_id, span_id, int(sampled), run_id or None, None, code


def from_captured(captured: Captured) -> Entry:
    """Return the entry of a simple record."""
    made, level, level_name, logger, message, trace_id, span_id, flags, run_id, extra, code = captured
    return Entry(
        nanoseconds(made), level, level_name, logger, message, trace_id, span_id, flags, run_id, extra or {}, None, code
    )
