"""An exception of the watched code as masked, bounded text, and whether it has been recorded before.

It is compiled where that can be done.
"""

from __future__ import annotations

import builtins
import sys
import traceback
from types import TracebackType
from typing import Any, Final, NamedTuple

from otel_ml.redaction import Redactor
from otel_ml.redaction import current as current_redactor
from otel_ml.stack_text import render

_MARK = "__otel_ml_recorded__"
_OWN_MODULES = frozenset(
    {
        "otel_ml.wrappers",
        "otel_ml.quick_call",
        "otel_ml.decorators",
        "otel_ml.runs",
        "otel_ml.integrations.optuna.optimization",
    }
)
_FRAMES = 60
_TEXT_LIMIT = 32 * 1024
_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class whose name can be set
_NAMES: Final = {
    id(kind): kind.__qualname__
    for kind in vars(builtins).values()
    if isinstance(kind, type) and issubclass(kind, BaseException) and not kind.__flags__ & _HEAP_TYPE
}
"""Names of the exceptions of the language, by the id of their classes, which stay."""


class Failure(NamedTuple):
    """What may be said of an exception: masked, and at most 32 KiB a field.

    Args:
        type: Qualified class name.
        message: `str` of the exception.
        stacktrace: The stack trace as Python prints it, with causes.
    """

    type: str
    message: str
    stacktrace: str


_new_tuple: Final[Any] = tuple.__new__


def error_type(error: BaseException) -> str:
    """Return the qualified class name of an exception, without `builtins`."""
    cls = type(error)
    known = _NAMES.get(id(cls))
    if known is not None:
        return known
    try:
        module, name = cls.__module__, cls.__qualname__
    except Exception:  # a metaclass may do anything; these are past it
        module, name = _own("__module__", cls), _own("__qualname__", cls)
    return name if module == "builtins" else f"{module}.{name}"


def _own(name: str, cls: type) -> str:
    return str(vars(type)[name].__get__(cls))


def is_cancellation(error: BaseException) -> bool:
    """Return whether a call was ended from outside: a cancelled task, Ctrl-C, or a closed generator."""
    cls = type(error)  # past the methods of the exception, which may do anything
    if issubclass(cls, (KeyboardInterrupt, GeneratorExit)):
        return True
    asyncio = sys.modules.get("asyncio")  # not imported: 26 ms, and without it there is no such exception
    cancelled = getattr(asyncio, "CancelledError", None)  # it may be half imported by another thread
    return isinstance(cancelled, type) and issubclass(cls, cancelled)


def describe(error: BaseException) -> Failure:
    """Return type, message and stack trace of an exception, masked and bounded."""
    redactor = current_redactor()
    text = _message(error)
    message = redactor.text(_shorten(text))
    stacktrace = _remembered(error, message, redactor) if len(text) < _TEXT_LIMIT else None
    if stacktrace is None:
        stacktrace = redactor.text(_shorten(_stacktrace(error)))
    redactor.keep(stacktrace)
    return _new_tuple(Failure, (error_type(error), message, stacktrace))  # type: ignore[no-any-return]


def first_time(error: BaseException) -> bool:
    """Return True once per exception object, so that it is recorded by the innermost step only.

    The mark is among the attributes of the exception: it survives pickling, so a failure that was recorded in a worker
    process is not recorded again in its parent. It is looked for and left there past the methods of the class, which
    may refuse attributes or have an answer to every name.
    """
    try:
        marks = error.__dict__
        if marks.get(_MARK) is True:
            return False
        marks[_MARK] = True
    except Exception:  # there may be none: recorded twice is better than not at all
        return True
    return True


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:  # the caller's __str__ may do anything
        return f"<__str__ raised {type(failure).__name__}>"


def _remembered(error: BaseException, message: str, redactor: Redactor) -> str | None:
    try:
        text = render(error, message, _caller_frames(error.__traceback__), redactor, _FRAMES)
        return None if text is None else _shorten(text)
    except Exception:  # a class of the caller may do anything with its attributes
        return None


def _stacktrace(error: BaseException) -> str:
    try:
        lines = traceback.TracebackException(
            type(error), error, _caller_frames(error.__traceback__), limit=-_FRAMES, compact=True
        ).format()
        return "".join(lines)
    except Exception as failure:  # an exception in the chain may break the formatter
        frames = "".join(traceback.format_tb(error.__traceback__, limit=-_FRAMES))
        return f"{frames}{error_type(error)}: <formatting raised {type(failure).__name__}>\n"


def _caller_frames(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next and trace.tb_frame.f_globals.get("__name__") in _OWN_MODULES:
        trace = trace.tb_next
    return trace


def _shorten(text: str) -> str:
    """Keep head and tail of a long text: the cause stands at one of the two."""
    if len(text) <= _TEXT_LIMIT:
        return text
    half = _TEXT_LIMIT // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
