"""What happens to each log record when it is made: it gets its ids, and our handler is where it will pass."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import get_current_span

from otel_ml import health
from otel_ml.logs.handler import Handler, Relay, is_ours
from otel_ml.runs import current_run

Factory = Callable[..., logging.LogRecord]


class RecordFactory:
    """Wraps the record factory in force; `restore` takes it off again.

    Ids come from opentelemetry-instrumentation-logging, so that formats with `%(otelTraceID)s` work; where the
    application instrumented logging itself, its way is left alone. Names that a caller may pass in `extra` are never
    injected: logging would raise `KeyError` in the caller.

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
        self._instrumented: Factory | None = None
        if not LoggingInstrumentor().is_instrumented_by_opentelemetry:
            LoggingInstrumentor().instrument(
                skip_dep_check=True,
                tracer_provider=SimpleNamespace(resource=resource),
                set_logging_format=False,
                inject_trace_context=True,
                enable_log_auto_instrumentation=False,
            )
            self._instrumented = logging.getLogRecordFactory()
        self._previous: Factory = logging.getLogRecordFactory()
        self._active = True
        logging.setLogRecordFactory(self)

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """Make a record."""
        record = self._previous(*args, **kwargs)
        if self._active:
            try:
                self._inject(record)
                self._attach(record.name)
            except Exception as error:
                health.internal_error("log record factory", error)
        return record

    def restore(self) -> None:
        """Put the previous factory back and take the handler off all loggers."""
        self._active = False
        if logging.getLogRecordFactory() is self:
            logging.setLogRecordFactory(self._previous)
        # uninstrument() restores an old factory, whatever was set since: only when nothing was.
        if self._instrumented is not None and logging.getLogRecordFactory() is self._instrumented:
            LoggingInstrumentor().uninstrument()
        for logger in {logging.root, *self._relayed}:
            for handler in logger.handlers[:]:
                if is_ours(handler, self._handler):
                    logger.removeHandler(handler)

    def _inject(self, record: logging.LogRecord) -> None:
        fields = vars(record)
        run = current_run()
        fields["otelRunID"] = run.id if run is not None else ""
        if "otelTraceID" in fields:
            return
        context = get_current_span().get_span_context()
        fields["otelTraceID"] = format(context.trace_id, "032x") if context.is_valid else "0"
        fields["otelSpanID"] = format(context.span_id, "016x") if context.is_valid else "0"
        fields["otelTraceSampled"] = context.trace_flags.sampled
        fields["otelServiceName"] = self._service

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
