"""What happens to each log record when it is made: it gets its ids, and our handler is where it will pass.

It is compiled where that can be done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from opentelemetry.sdk.resources import Resource

from otel_ml import health
from otel_ml.current_span import SPAN_KEY, get_context
from otel_ml.logs import quick_record, registration
from otel_ml.logs.entries import INJECTED
from otel_ml.logs.handler import Handler, Relay, is_ours
from otel_ml.logs.quick_record import filled
from otel_ml.primitives import hex_digits, item
from otel_ml.runs import RUN_KEY, Run, inherited
from otel_ml.tracing.span_state import SpanState

Factory = Callable[..., logging.LogRecord]

_POSITIONAL: Final = 9  # what `Logger.makeRecord` passes


class RecordFactory:
    """Wraps the record factory in force; `restore` takes it off again.

    Each record has the ids under the names of opentelemetry-instrumentation-logging, so that formats with
    `%(otelTraceID)s` work. Its own factory, which takes as long as all of ours, is not run. Where the application
    instrumented logging itself, its way is left alone. Names that a caller may pass in `extra` are never injected:
    logging would raise `KeyError` in the caller.

    Args:
        handler: Is put back on the root logger when something took it off, and is brought to loggers that have
            handlers of their own and do not propagate. Silenced loggers (neither) are left alone.
        resource: Its `service.name` becomes `otelServiceName`.
    """

    def __init__(self, handler: Handler, resource: Resource) -> None:
        self._handler = handler
        self._relayed: WeakSet[logging.Logger] = WeakSet()
        self._loggers = logging.root.manager.loggerDict
        self._service = str(resource.attributes.get("service.name") or "")
        self._previous: Factory = logging.getLogRecordFactory()
        self._fields = {**quick_record.FIELDS, **dict.fromkeys(INJECTED)}
        self._construct = quick_record.maker() if self._previous is logging.LogRecord else self._previous
        self._is_quick = self._construct is quick_record.make
        self._last: tuple[Any, str, str, bool] = (None, "0", "0", False)
        self._unregister = registration.register(resource)
        self._active = True
        self._installed = self.make  # one object, unlike the attribute
        logging.setLogRecordFactory(self._installed)

    def make(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """Make a record."""
        quick = self._is_quick and self._active and len(args) == _POSITIONAL and not kwargs
        if quick:
            name, level, pathname, lineno, msg, arguments, exc_info, func, sinfo = args
            fields = self._fields.copy()
            record = filled(fields, name, level, pathname, lineno, msg, arguments, exc_info, func, sinfo)
        else:
            record = self._construct(*args, **kwargs)
            fields = record.__dict__
        if self._active:
            try:
                self._inject(fields, quick)
                name = fields["name"]
                if not self._reaches_root(name):
                    self._attach(name)
            except Exception as error:
                health.internal_error("log record factory", error)
        return record

    def restore(self) -> None:
        """Put the previous factory back and take the handler off all loggers."""
        self._active = False
        if logging.getLogRecordFactory() is self._installed:
            logging.setLogRecordFactory(self._previous)
        self._unregister()
        for logger in {logging.root, *self._relayed}:
            for handler in logger.handlers[:]:
                if is_ours(handler, self._handler):
                    logger.removeHandler(handler)

    def _inject(self, fields: dict[str, Any], has_room: bool) -> None:
        """Put ids into the record; `otelRunID` last, which is how the handler knows what was there before `extra`."""
        context = get_context()
        if has_room or "otelTraceID" not in fields:
            _, fields["otelTraceID"], fields["otelSpanID"], fields["otelTraceSampled"] = self._ids_in(context)
            fields["otelServiceName"] = self._service
        run = _run_in(context)
        if run is None:
            fields["otelRunID"] = ""
            return
        fields["otelRunID"] = run.id
        labels = run.labels
        if labels:  # after the run's id, where a caller's `extra` is
            fields.update(labels)

    def _ids_in(self, context: Any) -> tuple[Any, str, str, bool]:
        """Return the span of a context with its ids, as `_ids_of` does."""
        span: Any = item(context, SPAN_KEY)
        last = self._last
        if last[0] is not span:
            last = self._last = _ids_of(span)
        return last

    def _reaches_root(self, name: str) -> bool:
        """Whether a record of a logger goes up to the root logger, with the handler there, as nearly all do."""
        found = self._loggers.get(name)
        logger = found if isinstance(found, logging.Logger) else logging.root
        while (parent := logger.parent) is not None:
            if not logger.propagate:
                return False
            logger = parent
        return self._handler in logger.handlers

    def _attach(self, name: str) -> None:
        """Follow the record's way up as logging will, and make sure that it meets the handler once."""
        main = self._handler
        found = self._loggers.get(name)
        logger = found if isinstance(found, logging.Logger) else logging.root
        owner: logging.Logger | None = None
        while True:
            for handler in logger.handlers:
                if is_ours(handler, main):
                    return
                if type(handler) is not logging.NullHandler:
                    owner = logger
            if logger.parent is None:
                logger.addHandler(main)
                return
            if not logger.propagate:
                break
            logger = logger.parent
        if owner is not None:
            owner.addHandler(Relay(main, owner))
            self._relayed.add(owner)


def _run_in(context: Any) -> Run | None:
    run: Any = item(context, RUN_KEY)
    return run if isinstance(run, Run) else inherited()


def _ids_of(span: Any) -> tuple[Any, str, str, bool]:
    """Return a span with its ids as a record has them: made once for all records in the span."""
    if span is None:
        return None, "0", "0", False
    if isinstance(span, SpanState):  # spares the making of its context
        state = span
        trace_id, span_id, flags = state._trace_id, state._span_id, state._trace_flags
    else:
        context = span.get_span_context()
        if not context.is_valid:
            return span, "0", "0", False
        trace_id, span_id, flags = context.trace_id, context.span_id, context.trace_flags
    return span, hex_digits(trace_id, 16), hex_digits(span_id, 8), flags & 1 == 1
