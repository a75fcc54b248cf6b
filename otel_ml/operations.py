"""The life of one step or inference call: span, duration, failure. Shared by every way to use a decorator."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, StatusCode

from otel_ml import conventions, exceptions, health, instruments

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of an operation when it is decorated.

    Args:
        span_name: Name of the span.
        logger: Logger of the failure record.
        histogram: Returns the duration histogram in use.
        attributes: On every span.
        metric_attributes: On every duration; low cardinality only.
        code: File, line and name of the decorated function, for the failure record.
    """

    span_name: str
    logger: logging.Logger
    histogram: Callable[[], Histogram]
    attributes: dict[str, Any]
    metric_attributes: dict[str, Any]
    code: tuple[str, int, str] = field(default=("", 0, ""))

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        """Begin one call; what it was called with is of no interest to a step."""
        return Operation(self)


class Operation:
    """One call under way: its span is current until `stop` or `fail`. No method raises an exception of its own.

    Args:
        spec: What was known at decoration.
        attributes: Further span attributes of this call.
        metric_attributes: Those of the duration, when they differ from the spec's.
    """

    __slots__ = ("_context", "_items", "_spec", "_started", "_token", "metric_attributes", "span")

    def __init__(
        self, spec: Spec, attributes: Attributes | None = None, metric_attributes: dict[str, Any] | None = None
    ) -> None:
        self._spec = spec
        self._token: Token[Context] | None = None
        self._context: Context | None = None
        self._items = 0
        self.metric_attributes = spec.metric_attributes if metric_attributes is None else metric_attributes
        self.span: Span = trace.INVALID_SPAN
        try:
            merged = spec.attributes if attributes is None else {**spec.attributes, **attributes}
            self.span = instruments.tracer.start_span(spec.span_name, attributes=merged)
            self._token = context.attach(trace.set_span_in_context(self.span))
        except Exception as error:
            health.internal_error("start of a span", error)
        self._started = time.perf_counter_ns()

    def stop(self, result: object) -> None:
        """End a call that returned."""
        self._finish(self.metric_attributes)

    def fail(self, error: BaseException) -> None:
        """End a call that raised: status, `error.type`, and once per exception an event and an ERROR log."""
        if exceptions.is_cancellation(error):
            self._end_early(conventions.CANCELLED)
        elif isinstance(error, SystemExit) and error.code in (None, 0):
            self._finish(self.metric_attributes)
        else:
            self._record(error)
            self._finish({**self.metric_attributes, conventions.ERROR_TYPE: exceptions.error_type(error)})

    @contextmanager
    def abandoning(self) -> Iterator[None]:
        """Close a generator, inside its span, whose consumer stopped before its end."""
        self.resume()
        try:
            yield
        except BaseException as error:
            self.fail(error)
            raise
        self._end_early(conventions.ABANDONED)

    def failure_extra(self) -> dict[str, Any]:
        """Return what the failure record says beyond the exception."""
        return {}

    def suspend(self) -> None:
        """Leave the span's context while a generator waits for its consumer."""
        try:
            self._items += 1
            self._context = context.get_current()
            self._leave()
        except Exception as error:
            health.internal_error("suspension of a generator", error)

    def resume(self) -> None:
        """Enter the context that `suspend` left."""
        try:
            if self._context is not None:
                self._token = context.attach(self._context)
        except Exception as error:
            health.internal_error("resumption of a generator", error)

    def _record(self, error: BaseException) -> None:
        if not instruments.enabled:
            return
        spec = self._spec
        try:
            record_failure(self.span, error, spec.logger, spec.span_name, self.failure_extra(), code=spec.code)
        except Exception as own:
            health.internal_error("recording of an exception", own)

    def _end_early(self, status: str) -> None:
        try:
            self.span.set_attribute(conventions.STATUS, status)
        except Exception as error:
            health.internal_error("end of a span", error)
        self._finish(self.metric_attributes)

    def _finish(self, metric_attributes: dict[str, Any]) -> None:
        seconds = (time.perf_counter_ns() - self._started) * 1e-9
        try:  # while the span is current: the histogram takes its exemplar from there
            self._spec.histogram().record(seconds, metric_attributes)
        except Exception as error:
            health.internal_error("recording of a duration", error)
        try:
            if self._items:
                self.span.set_attribute(conventions.ITEMS, self._items)
            self._leave()
            self.span.end()
        except Exception as error:
            health.internal_error("end of a span", error)

    def _leave(self) -> None:
        token, self._token = self._token, None
        if token is not None:
            context.detach(token)


def record_failure(
    span: Span,
    error: BaseException,
    logger: logging.Logger,
    subject: str,
    extra: Mapping[str, Any],
    *,
    code: tuple[str, int, str] = ("", 0, ""),
) -> None:
    """Put an exception on a span, and log it unless that was done before.

    Args:
        span: The span of the failed operation, which should be current.
        error: The exception; it is marked, so that the operations around this one only take status and type.
        logger: Where the ERROR record goes.
        subject: Name of what failed, for the message.
        extra: Further fields of the record, already masked.
        code: File, line and function name that the record points at.
    """
    kind = exceptions.error_type(error)
    span.set_attribute(conventions.ERROR_TYPE, kind)
    if not exceptions.first_time(error):
        span.set_status(StatusCode.ERROR, kind)
        return
    failure = exceptions.describe(error)
    span.set_status(StatusCode.ERROR, f"{failure.type}: {failure.message}")
    span.add_event(
        "exception",
        {
            conventions.EXCEPTION_TYPE: failure.type,
            conventions.EXCEPTION_MESSAGE: failure.message,
            conventions.EXCEPTION_STACKTRACE: failure.stacktrace,
        },
    )
    if logger.isEnabledFor(logging.ERROR):
        file, line, function = code
        record = logger.makeRecord(
            logger.name, logging.ERROR, file, line, "%s failed: %s: %s", (subject, failure.type, failure.message),
            (type(error), error, error.__traceback__), function, {conventions.ERROR_TYPE: kind, **extra},
        )  # fmt: skip
        record.exc_text = failure.stacktrace.rstrip("\n")  # formatters print this masked text instead of their own
        logger.handle(record)
